"""Steps per second of `model=oracle` on MuJoCo tasks: states in threads against copies.

    python benchmarks/mujoco_oracle.py --threads 1 2

The ways take turns on the same states and actions, and their outcomes must be equal to the bit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from mbrl_cli.envs.env_copies import EnvCopies, MujocoCopies, Outcome
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.mujoco_states import MujocoStates

IDS = ("InvertedPendulum-v5", "HalfCheetah-v5", "Hopper-v5", "Ant-v5", "Humanoid-v5")


def imagine(copies: EnvCopies, id: str, plans: np.ndarray) -> tuple[float, list[Outcome]]:
    """Return steps per second and all outcomes of plans [N, H, A] from one state."""
    env = make_env(id)
    env.reset(0)
    for action in plans[0]:
        env.step(action)
    states = [copies.take(env)] * len(plans)
    copies.step_all(states, plans[:, 0], [0] * len(plans))  # starts threads
    outcomes: list[Outcome] = []
    start = time.perf_counter()
    for step in range(plans.shape[1]):
        results = copies.step_all(states, plans[:, step], [step] * len(plans))
        outcomes += [outcome for outcome, _ in results]
        states = [state for _, state in results]
    seconds = time.perf_counter() - start
    env.close()
    return len(outcomes) / seconds, outcomes


def real_steps(id: str, plan: np.ndarray) -> tuple[float, list[Outcome]]:
    """Return steps per second and the outcomes of the environment itself."""
    env = make_env(id)
    env.reset(0)
    start = time.perf_counter()
    outcomes = [env.step(action) for action in np.concatenate([plan, plan])]
    seconds = time.perf_counter() - start
    env.close()
    return len(outcomes) / seconds, outcomes[len(plan) :]


def equal(one: list[Outcome], other: list[Outcome]) -> bool:
    """Return whether observations, rewards and terminations are equal to the bit."""
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a[0], b[0]) and a[1:3] == b[1:3] for a, b in pairs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--plans", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for id in IDS:
        action_dim = make_env(id).spec.action.dim
        size = (options.plans, options.horizon, action_dim)
        plans = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
        rates: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            rate, copied = imagine(MujocoCopies(), id, plans)
            rates.setdefault("copies", []).append(rate)
            rate, real = real_steps(id, plans[0])
            rates.setdefault("environment", []).append(rate)
            for threads in options.threads:
                torch.set_num_threads(threads)
                rate, outcomes = imagine(MujocoStates(), id, plans)
                rates.setdefault(f"{threads} threads", []).append(rate)
                assert equal(outcomes, copied), f"{id}: differs from copies"
                assert equal(outcomes[:: options.plans], real), f"{id}: differs from real steps"
        row = {name: statistics.median(values) for name, values in rates.items()}
        rows.append({"id": id, **row})
        ratios = ", ".join(f"{name} {rate / row['copies']:.2f}" for name, rate in row.items())
        print(
            f"{id}: {row['copies']:.0f} steps per second with copies; ratios: {ratios}", flush=True
        )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
