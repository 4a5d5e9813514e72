"""Train SAC of stable-baselines3 and write its evaluation returns in the format of metrics.csv.

The evaluation episodes have the same reset seeds as those of `mbrl train` with this seed. Needs
stable-baselines3 (measured with 2.9.2), which is not a dependency of this package.

    python benchmarks/sac_peer.py --env Pendulum-v1 --seed 0 --steps 20000 --out peer_s0
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from mbrl_cli.seeding import child_seed


def returns(model: SAC, env_id: str, seed: int, episodes: int) -> float:
    """Return the mean return of the deterministic policy on the evaluation episodes."""
    env, totals = gym.make(env_id), []
    for episode in range(episodes):
        obs, _ = env.reset(seed=child_seed(seed, "evaluation", episode))
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(obs, deterministic=True)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        totals.append(total)
    return float(np.mean(totals))


class Evaluations(BaseCallback):
    """Evaluate 5 episodes every `options.every` steps, and 20 episodes at the last step."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.options = options
        self.rows: list[tuple[int, str, float]] = []

    def _on_step(self) -> bool:
        step, options = self.num_timesteps, self.options
        if step % options.every == 0:
            episodes = 20 if step == options.steps else 5
            value = returns(self.model, options.env, options.seed, episodes)
            self.rows.append((step, "eval/return", value))
            print(f"step {step}: {value:.1f}", flush=True)
        return True


def main() -> None:
    """Train one seed with RL Zoo's settings for Pendulum: learning rate 1e-3, else defaults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = SAC(
        "MlpPolicy", gym.make(options.env), learning_rate=options.learning_rate,
        seed=options.seed, device="cpu",
    )  # fmt: skip
    evaluations = Evaluations(options)
    model.learn(options.steps, callback=evaluations)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("env_step", "tag", "value"), *evaluations.rows])


if __name__ == "__main__":
    main()
