"""Compare the terminations that a model predicts with true ones, with and without calibration.

    python benchmarks/termination_calibration.py --steps 2000 --seeds 3

Episodes of random actions and of held ones, in turns, give real transitions of a task. In
"CartPole-v1, balanced" every second action is random and the others push the cart below the pole.

A Gaussian ensemble learns the dynamics. Its termination network is fitted three times, to the first
third, two thirds and all of the training data, as in a run. The termination probability is then
compared with fresh transitions, at the real next observation and at the one that is sampled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from timing import report
from torch import Tensor

from mbrl_cli.agents.random import random_actions
from mbrl_cli.envs.make import make_env
from mbrl_cli.models import termination_model
from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.models.termination_model import TerminationModel
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Batch

CPU = torch.device("cpu")
BALANCED = "CartPole-v1, balanced"
TASKS = ("Hopper-v5", "CartPole-v1", BALANCED)
HELD_STEPS = 10  # how long an action is held in every other episode
WEIGHTS = (1.0, 10.0, 100.0)  # largest weights of a termination in the loss
METRICS = ("predicted %", "false %", "precision", "recall", "Brier")


def collect(task: str, steps: int, seed: int) -> tuple[ReplayBuffer, Ensemble]:
    """Return transitions of a task and an ensemble without training."""
    env = make_env(task.partition(",")[0])
    generator = torch.Generator().manual_seed(seed)
    replay = ReplayBuffer(steps, env.spec.obs_dim, env.spec.action.dim)
    obs, held, since_reset = env.reset(seed), False, 0
    for step in range(steps):
        if not held or since_reset % HELD_STEPS == 0:
            action = random_actions(env.spec.action, 1, generator)[0]
        if task == BALANCED and step % 2:
            action = np.eye(2, dtype=np.float32)[int(obs[2] + obs[3] > 0.0)]  # angle, its velocity
        next_obs, reward, terminated, truncated = env.step(action)
        replay.add(obs, action, reward, next_obs, terminated, truncated)
        obs, since_reset = next_obs, since_reset + 1
        if terminated or truncated:
            obs, held, since_reset = env.reset(seed + step + 1), not held, 0
    env.close()
    model = Ensemble(
        env.spec, CPU, generator, head="gaussian", nll_beta=0.5, propagation="ts_inf",
        accuracy_horizon=0, termination_steps=1,
    )  # fmt: skip
    return replay, model


def fit_termination(model: Ensemble, train: Batch, max_weight: float) -> TerminationModel:
    """Return a termination model with the settings of `configs/model`, after three fits."""
    generator = torch.Generator().manual_seed(0)
    termination_model.MAX_TERMINATION_WEIGHT = max_weight
    termination = TerminationModel(
        model.spec, model.num_members, batch_size=256, steps=300, learning_rate=1e-2,
        generator=generator, device=CPU,
    )  # fmt: skip
    for third in (1, 2, 3):
        part = Batch(*(field[: len(field) * third // 3] for field in train))
        termination.fit(part, None, model.normalizer.obs, generator)
    termination.fold_weights(model.elites, model.normalizer.obs)
    return termination


def accuracy(terminates: Tensor, truth: Tensor) -> list[float]:
    """Return `METRICS` of probabilities [n, P] for what happened [n]."""
    truth = truth[:, None].expand_as(terminates)
    predicted, safe = terminates > 0.5, truth == 0.0
    hits = float((predicted & ~safe).sum())
    return [
        100.0 * float(terminates.mean()),
        100.0 * float(terminates[safe].mean()),
        hits / max(float(predicted.sum()), 1.0),
        hits / float((~safe).sum()),
        float((terminates - truth).square().mean()),
    ]


def measure(task: str, steps: int, seed: int) -> dict[tuple[str, str], list[float]]:
    """Return the true rate in percent and `METRICS` by (variant, next observation)."""
    replay, model = collect(task, steps, seed)
    fresh, _ = collect(task, 5000, seed + 1000)
    model.fit(replay, torch.Generator().manual_seed(seed))
    train = replay.batch(replay.split()[0])
    test = fresh.batch(np.arange(len(fresh)))
    state = model.branch({"obs": test.obs}, 1)
    imagined = model.step(state, test.action, torch.Generator().manual_seed(seed)).state["obs"]
    next_obs = {
        "real": test.next_obs[:, None].expand_as(imagined).contiguous(),
        "imagined": imagined,
    }  # [n, P, O]
    rows = {}
    for max_weight in WEIGHTS:
        termination = fit_termination(model, train, max_weight)
        weight = termination.termination_weight
        for name, divisor in (("as trained", 1.0), ("calibrated", weight)):
            if weight == 1.0 and name == "calibrated":
                continue
            termination.termination_weight = divisor
            for where, states in next_obs.items():
                continues = termination.continue_probability(states, mean_over_members=False)
                values = accuracy(1.0 - continues, test.terminated)
                true_rate = 100.0 * float(test.terminated.mean())
                rows[f"weight up to {max_weight:.0f}, {name}", where] = [true_rate, *values]
    return rows


def main() -> None:
    """Print the table: means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000, help="transitions for the fits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = []
    for task in options.tasks:
        by_seed = [measure(task, options.steps, seed) for seed in range(options.seeds)]
        for variant, where in by_seed[0]:
            means = np.mean([rows[variant, where] for rows in by_seed], axis=0).tolist()
            named = zip(("true %", *METRICS), means, strict=True)
            table.append({"task": task, "network": variant, "next obs": where, **dict(named)})
    report(table, options.out, seeds=options.seeds, steps=options.steps)


if __name__ == "__main__":
    main()
