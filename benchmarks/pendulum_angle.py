"""Environment PendulumAngle-v0: the dynamics of Pendulum-v1 with another goal angle."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from torch import Tensor

GOAL = 2.0  # radians from upright


class PendulumAngle(PendulumEnv):
    """Pendulum-v1 whose reward is largest at the angle `GOAL` instead of upright."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step of Pendulum-v1 and replace its reward by `reward`."""
        obs = torch.from_numpy(self._get_obs())
        next_obs, _, terminated, truncated, info = super().step(action)
        torque = torch.from_numpy(np.clip(action, -self.max_torque, self.max_torque))
        # `reward` does not depend on its third argument, the next observation.
        return next_obs, float(reward(obs, torque, obs)), terminated, truncated, info


def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return the reward [...] of obs [..., 3] (cosine, sine, velocity) and torque [..., 1]."""
    angle = torch.atan2(obs[..., 1], obs[..., 0]) - GOAL
    distance = torch.atan2(torch.sin(angle), torch.cos(angle))  # in [-pi, pi]
    return -(distance.square() + 0.1 * obs[..., 2].square() + 0.001 * action[..., 0].square())


gymnasium.register("PendulumAngle-v0", PendulumAngle, max_episode_steps=200)
