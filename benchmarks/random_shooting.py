"""Speed of one random-shooting plan: a Python loop over candidates against one batched rollout.

The loop is that of tutorials: 100 candidates of 10 steps on the 5x5 grid world, one model call of
batch size 1 for each step of each candidate. Both use the same network and alternate in one
process: one decision of the loop, then as many batched decisions as take about as long. Medians are
compared.

    python benchmarks/random_shooting.py --rounds 30 --threads 1 --out random_shooting.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from timing import report, time_interleaved
from torch import Tensor, nn

from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.models.plan_evaluation import evaluate_plans
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.world import World
from mbrl_cli.threads_and_malloc import set_threads_and_malloc
from mbrl_cli.types import ActionSpec, EnvSpec

CANDIDATES, HORIZON, HIDDEN, NUM_ACTIONS = 100, 10, 64, 4
DECISIONS = {"loop": 1, "batched": 100}  # per round
GOAL = (4.0, 4.0)
START = np.array([0.0, 0.0])

Decide = Callable[[np.ndarray], int]  # obs [2] -> the first action of the best candidate


def make_network(seed: int) -> nn.Sequential:
    """Return a model of the grid world: (position, one-hot action) [B, 6] -> next position [B, 2].

    It is not trained: the weights do not change the time of a decision.
    """
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(2 + NUM_ACTIONS, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 2),
    )


class LoopModel:
    """The network with the interface of tutorials: one position in, one position out."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def predict(self, obs: np.ndarray, action: int) -> np.ndarray:
        """Return the next position [2] after `action` at the position `obs` [2]."""
        with torch.no_grad():
            state = torch.as_tensor(obs, dtype=torch.float32).unsqueeze(0)  # [1, 2]
            one_hot = torch.zeros(1, NUM_ACTIONS)
            one_hot.scatter_(1, torch.tensor([[action]]), 1.0)
            following: Tensor = self._network(torch.cat([state, one_hot], dim=1))  # [1, 2]
            return following.squeeze(0).numpy()


def loop_returns(model: LoopModel, obs: np.ndarray, plans: np.ndarray) -> np.ndarray:
    """Return the returns [N] of plans [N, H], computed one step at a time."""
    returns = []
    for plan in plans:
        position, total = obs, 0.0
        for action in plan:
            position = model.predict(position, int(action))
            total -= float(np.linalg.norm(position - np.array(GOAL)))
        returns.append(total)
    return np.array(returns)


def loop_planner(network: nn.Sequential, seed: int) -> Decide:
    """Return random shooting as a Python loop: the baseline."""
    model, rng = LoopModel(network), np.random.default_rng(seed)

    def decide(obs: np.ndarray) -> int:
        plans = rng.integers(0, NUM_ACTIONS, (CANDIDATES, HORIZON))
        return int(plans[loop_returns(model, obs, plans).argmax(), 0])

    return decide


class GridDistance(Ensemble):
    """The package's MLP model with the weights of a given network and a distance as reward."""

    def __init__(self, network: nn.Sequential) -> None:
        goal = torch.tensor(GOAL)

        def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
            return -(next_obs - goal).square().sum(-1).sqrt()

        spec = EnvSpec(
            id="grid",
            obs_dim=2,
            obs_integer=(False, False),
            action=ActionSpec("discrete", NUM_ACTIONS, (NUM_ACTIONS,)),
            max_episode_steps=None,
            known_reward=reward,
        )
        super().__init__(
            spec, torch.device("cpu"), torch.Generator(), num_members=1, num_elites=1,
            hidden=[HIDDEN, HIDDEN], activation="relu",
        )  # fmt: skip
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            net = self.net.mlp
            for weight, bias, layer in zip(net.weights, net.biases, layers, strict=True):
                weight[0].zero_()
                weight[0, : layer.out_features] = layer.weight
                bias[0].zero_()
                bias[0, : layer.out_features, 0] = layer.bias
            # The model predicts the change of the position: its skip connection subtracts it.
            net.skip[0, :2, :2] = -torch.eye(2)
        self.fold_weights()


def batched_planner(network: nn.Sequential, seed: int) -> Decide:
    """Return the planner of the package, which evaluates all candidates at once."""
    model, generator = GridDistance(network), torch.Generator().manual_seed(seed)
    shooting = RandomShooting(
        model.spec.action, model.device, horizon=HORIZON, population=CANDIDATES, noise_beta=0.0,
        risk=None, replan_every=1, max_plan_ms=None,
    )  # fmt: skip
    world = World.of_model(model, discount=1.0, generator=generator)
    memory = shooting.initial_memory(1)

    @torch.inference_mode()
    def decide(obs: np.ndarray) -> int:
        state = {"obs": torch.as_tensor(obs, dtype=torch.float32)[None]}
        plan = shooting.plan(world, state, memory, generator)
        return int(plan.actions[0, 0].argmax())

    return decide


def check_same_work(network: nn.Sequential) -> None:
    """Raise AssertionError if loop and batched rollout give the same plans different returns."""
    plans = np.random.default_rng(0).integers(0, NUM_ACTIONS, (CANDIDATES, HORIZON))
    one_by_one = loop_returns(LoopModel(network), START, plans)
    state = {"obs": torch.as_tensor(START, dtype=torch.float32)[None]}
    encoded = F.one_hot(torch.from_numpy(plans), NUM_ACTIONS).float()[None]  # [1, N, H, A]
    with torch.inference_mode():
        model = GridDistance(network)
        batched = evaluate_plans(
            model, state, encoded, discount=1.0, generator=torch.Generator()
        ).returns
    np.testing.assert_allclose(batched[0, :, 0].numpy(), one_by_one, rtol=1e-4)


def repeat(decide: Decide, times: int) -> None:
    """Decide several times at the same position."""
    for _ in range(times):
        decide(START)


def main() -> None:
    """Measure, print, and write JSON where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="rounds that are timed")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    set_threads_and_malloc(options.threads)

    network = make_network(seed=0)
    check_same_work(network)
    planners = {"loop": loop_planner(network, seed=0), "batched": batched_planner(network, seed=0)}
    jobs = {name: partial(repeat, decide, DECISIONS[name]) for name, decide in planners.items()}
    seconds = time_interleaved(jobs, options.rounds)
    rows = []
    for name, times in seconds.items():
        per_decision = median(times) / DECISIONS[name]
        rate = CANDIDATES * HORIZON / per_decision
        rows.append({"planner": name, "ms per decision": 1e3 * per_decision, "model steps/s": rate})
    ratio = rows[1]["model steps/s"] / rows[0]["model steps/s"]
    report(rows, options.out, rounds=options.rounds, hidden=[HIDDEN, HIDDEN], ratio=ratio)
    print(f"batched / loop: {ratio:.1f} times the model steps per second")


if __name__ == "__main__":
    main()
