"""Speed of one random-shooting plan: a Python loop over candidates against one batched rollout.

The loop is how tutorials write it: 100 plans of 10 steps on the 5x5 gridworld, one model call of
batch 1 for each step of each plan. Both sides use the same network and take turns in one process:
one plan of the loop, then as many batched ones as take about as long. Medians are compared.

    python benchmarks/article_loop.py --rounds 30 --threads 1 --out article_loop.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.models.plan_evaluation import evaluate_plans
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.world import World
from mbrl_cli.threads_and_malloc import set_threads_and_malloc
from mbrl_cli.types import ActionSpec, EnvSpec

PLANS, HORIZON, HIDDEN, NUM_ACTIONS = 100, 10, 64, 4
TURN = {"loop": 1, "ours": 100}  # plans
GOAL = (4.0, 4.0)
START = np.array([0.0, 0.0])

Planner = Callable[[np.ndarray], int]  # obs [2] -> the first action of the best plan


def make_network(seed: int) -> nn.Sequential:
    """Return a model of the gridworld: (position, one-hot action) [B, 6] -> next position [B, 2].

    It is not trained: the weights do not change the time of a plan.
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
    """The network behind the interface of the tutorials: one position in, one position out."""

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
    """Score the plans [N, H] one after the other, one step at a time -> [N]."""
    returns = []
    for plan in plans:
        position, total = obs, 0.0
        for action in plan:
            position = model.predict(position, int(action))
            total -= float(np.linalg.norm(position - np.array(GOAL)))
        returns.append(total)
    return np.array(returns)


def loop_planner(network: nn.Sequential, seed: int) -> Planner:
    """Return the baseline."""
    model, rng = LoopModel(network), np.random.default_rng(seed)

    def plan(obs: np.ndarray) -> int:
        plans = rng.integers(0, NUM_ACTIONS, (PLANS, HORIZON))
        return int(plans[loop_returns(model, obs, plans).argmax(), 0])

    return plan


class GridDistance(Ensemble):
    """Our MLP model with the weights of the baseline's network, and its distance reward."""

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
            spec, torch.device("cpu"), torch.Generator(), head="point", nll_beta=0.0,
            num_members=1, num_elites=1, propagation="expectation", num_particles=1,
            hidden=[HIDDEN, HIDDEN], activation="relu", bootstrap=False, fit_from="last",
            batch_size=1, max_steps=1, check_every=1, patience=1, learning_rate=1e-3,
            weight_decay=0.0, termination_steps=1, termination_learning_rate=1e-3,
            accuracy_horizon=0,
        )  # fmt: skip
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for ours, theirs in zip(self.net.weights, linear, strict=True):
                ours[0].zero_()
                ours[0, : theirs.out_features] = theirs.weight
            for bias, theirs in zip(self.net.biases, linear, strict=True):
                bias[0].zero_()
                bias[0, : theirs.out_features, 0] = theirs.bias
            # Ours predicts the change of the position; the linear path takes the position away.
            self.net.skip[0, :2, :2] = -torch.eye(2)
        self._prepare()


def our_planner(network: nn.Sequential, seed: int) -> Planner:
    """Return the planner that is measured against the baseline: the one that `mbrl` runs."""
    model, generator = GridDistance(network), torch.Generator().manual_seed(seed)
    shooting = RandomShooting(
        model.spec.action, model.device, HORIZON, PLANS, noise_beta=0.0, risk=None,
        replan_every=1, max_plan_ms=None,
    )  # fmt: skip
    world = World.of_model(model, discount=1.0, generator=generator)
    memory = shooting.initial_memory(1)

    @torch.inference_mode()
    def plan(obs: np.ndarray) -> int:
        state = {"obs": torch.as_tensor(obs, dtype=torch.float32)[None]}
        decision = shooting.plan(world, state, memory, generator)
        return int(decision.actions[0, 0].argmax())

    return plan


def check_same_work(network: nn.Sequential) -> None:
    """Fail if the two ways give the same plans different returns."""
    plans = np.random.default_rng(0).integers(0, NUM_ACTIONS, (PLANS, HORIZON))
    slow = loop_returns(LoopModel(network), START, plans)
    state = {"obs": torch.as_tensor(START, dtype=torch.float32)[None]}
    encoded = F.one_hot(torch.from_numpy(plans), NUM_ACTIONS).float()[None]  # [1, N, H, A]
    with torch.inference_mode():
        model = GridDistance(network)
        fast = evaluate_plans(
            model, state, encoded, discount=1.0, generator=torch.Generator()
        ).returns
    np.testing.assert_allclose(fast[0, :, 0].numpy(), slow, rtol=1e-4)


def seconds(planner: Planner, plans: int) -> float:
    """Return how long one plan takes, on average over a turn of some plans."""
    start = time.perf_counter()
    for _ in range(plans):
        planner(START)
    return (time.perf_counter() - start) / plans


def measure(planners: dict[str, Planner], rounds: int) -> dict[str, list[float]]:
    """Time the planners in turn, so that a busy moment of the machine hits all of them."""
    for planner in planners.values():
        seconds(planner, 1)  # warm up
    times: dict[str, list[float]] = {name: [] for name in planners}
    for _ in range(rounds):
        for name, planner in planners.items():
            times[name].append(seconds(planner, TURN[name]))
    return times


def main() -> None:
    """Measure, print, and write JSON where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="plans timed on each side")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    set_threads_and_malloc(options.threads)

    network = make_network(seed=0)
    check_same_work(network)
    planners = {"loop": loop_planner(network, seed=0), "ours": our_planner(network, seed=0)}
    times = measure(planners, options.rounds)

    medians = {name: median(values) for name, values in times.items()}
    steps_per_second = {name: PLANS * HORIZON / value for name, value in medians.items()}
    ratio = medians["loop"] / medians["ours"]
    for name, value in medians.items():
        print(
            f"{name}: median {1e3 * value:8.3f} ms a plan,"
            f" {steps_per_second[name]:12,.0f} model steps/s"
        )
    print(f"ours / loop: {ratio:.1f} times the model steps per second")
    if options.out:
        result = {
            "plans": PLANS,
            "horizon": HORIZON,
            "hidden": [HIDDEN, HIDDEN],
            "rounds": options.rounds,
            "threads": options.threads,
            "torch": torch.__version__,
            "machine": f"{platform.system()} {platform.machine()}",
            "median_seconds": medians,
            "model_steps_per_second": steps_per_second,
            "ratio": ratio,
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
