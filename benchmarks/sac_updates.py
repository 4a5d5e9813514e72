"""Gradient steps of SAC per second: ours and stable-baselines3's, taking turns.

Both sample their own replay of 20,000 random transitions; same batch and network sizes. Needs
stable-baselines3 (measured with 2.9.2), which is no dependency of ours.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC as PeerSAC
from stable_baselines3.common.logger import configure

from mbrl_cli.agents.sac import SAC
from mbrl_cli.process import prepare
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ActionSpec, EnvSpec

OBS, ACTIONS, ROWS = 17, 6, 20_000


class Still(gym.Env[np.ndarray, np.ndarray]):
    """Spaces alone; it is never stepped."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (OBS,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)


def ours(hidden: list[int], batch_size: int) -> Callable[[int], Any]:
    """Return a function that takes so many gradient steps."""
    spec = EnvSpec("toy", OBS, (False,) * OBS, ActionSpec("continuous", ACTIONS), None)
    agent = SAC(
        spec, torch.device("cpu"), torch.Generator().manual_seed(0), hidden=hidden,
        activation="relu", layer_norm=False, learning_rate=3e-4, batch_size=batch_size,
        updates_per_step=1.0, discount=0.99, target_rate=0.005, initial_temperature=1.0,
        target_entropy="auto", log_every=1000,
    )  # fmt: skip
    replay, rng = ReplayBuffer(ROWS, OBS, ACTIONS), np.random.default_rng(0)
    for _ in range(ROWS):
        obs, next_obs = rng.normal(size=(2, OBS))
        replay.add(obs, rng.uniform(-1, 1, ACTIONS), rng.normal(), next_obs, False, False)

    def learn(updates: int) -> None:
        for _ in range(updates):  # one a time, as in a run with one update a step
            agent.learn(agent.real_batches(replay, 1, batch_size), batch_size)

    return learn


def peer(hidden: list[int], batch_size: int) -> Callable[[int], Any]:
    """Return the same of stable-baselines3, at its defaults."""
    agent = PeerSAC(
        "MlpPolicy", Still(), buffer_size=ROWS, batch_size=batch_size, device="cpu",
        policy_kwargs={"net_arch": hidden},
    )  # fmt: skip
    agent.set_logger(configure(None, []))
    rng = np.random.default_rng(0)
    for _ in range(ROWS):
        obs, next_obs = rng.normal(size=(2, 1, OBS))
        action, reward = rng.uniform(-1, 1, (1, ACTIONS)), rng.normal(size=1)
        agent.replay_buffer.add(obs, next_obs, action, reward, np.zeros(1), [{}])
    return lambda updates: agent.train(updates, batch_size)


def main() -> None:
    """Measure and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=60, help="gradient steps of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    prepare(arguments.threads)
    sides = {"ours": ours, "stable-baselines3": peer}
    learners = {name: make(arguments.hidden, arguments.batch_size) for name, make in sides.items()}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(arguments.rounds + 1):
        for name, learn in learners.items():
            start = time.perf_counter()
            learn(arguments.updates)
            if turn:  # the first turn warms up
                rates[name].append(arguments.updates / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["ours"] / medians["stable-baselines3"]
    for name, rate in medians.items():
        print(f"{name}: {rate:.0f} gradient steps/s (best turn {max(rates[name]):.0f})")
    print(f"ratio of the medians: {ratio:.2f}")
    if arguments.out:
        arguments.out.write_text(json.dumps({"rates": rates, "ratio": ratio}) + "\n")


if __name__ == "__main__":
    main()
