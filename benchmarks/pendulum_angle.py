"""A pendulum whose goal is any angle: the dynamics of Pendulum-v1, another reward."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from torch import Tensor

GOAL = 2.0  # radians from upright


class PendulumAngle(PendulumEnv):
    """Pendulum-v1 that pays for being at `GOAL` instead of upright."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take the true step; the reward is that of `reward` below."""
        before = torch.from_numpy(self._get_obs())
        next_obs, _, terminated, truncated, info = super().step(action)
        torque = torch.from_numpy(np.clip(action, -self.max_torque, self.max_torque))
        paid = float(reward(before, torque, before))
        return next_obs, paid, terminated, truncated, info


def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Map obs [..., 3] = cos, sin, speed and the torque [..., 1] to the reward [...]."""
    angle = torch.atan2(obs[..., 1], obs[..., 0]) - GOAL
    away = torch.atan2(torch.sin(angle), torch.cos(angle))  # in [-pi, pi]
    return -(away.square() + 0.1 * obs[..., 2].square() + 0.001 * action[..., 0].square())


gymnasium.register("PendulumAngle-v0", PendulumAngle, max_episode_steps=200)
