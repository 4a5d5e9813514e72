"""A training episode in progress: its environment, and what is logged when it has ended."""

from __future__ import annotations

import numpy as np

from mbrl_cli.agents.base import Policy
from mbrl_cli.envs.env import Env
from mbrl_cli.optimism_gap import optimism_gap


class TrainingEpisode:
    """One of the episodes that start together.

    Axes: O obs_dim.

    Args:
        env: in which it is played; it is reset here.
        index: of the episode, counted from 0 over the whole run.
        seed: of the reset.

    Attributes:
        obs: [O] present observation.
        transitions: their numbers in the replay, counted as added.
        rewards: of each step.
        predicted: return that the policy predicted at each step; empty if it predicts none.
    """

    def __init__(self, env: Env, index: int, seed: int) -> None:
        self.env = env
        self.index = index
        self.obs: np.ndarray = env.reset(seed)
        self.transitions: list[int] = []
        self.rewards: list[float] = []
        self.predicted: list[float] = []

    def metrics(self, policy: Policy, terminated: bool) -> dict[str, float]:
        """Return the metrics of the ended episode by tag; `terminated`: the task has ended."""
        metrics = {"train/return": sum(self.rewards), "train/length": float(len(self.rewards))}
        gap = optimism_gap(
            self.predicted, self.rewards, terminated, policy.prediction_horizon, policy.discount
        )
        if gap is not None:
            metrics["planner/optimism_gap"] = gap
            metrics["planner/predicted_return"] = float(np.nanmean(self.predicted))
        return metrics | policy.metrics()
