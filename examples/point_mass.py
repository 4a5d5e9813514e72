"""An environment with a known reward: push a point on a plane to the origin and keep it there."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from torch import Tensor

TIME_STEP = 0.1  # seconds


class PointMass(gymnasium.Env[np.ndarray, np.ndarray]):
    """Observation: position and velocity (x, y, vx, vy) in m and m/s; action: force (fx, fy) in N.

    The mass is 1 kg. The reward is minus the squared distance to the origin, minus 0.01 times the
    squared force.
    """

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Put the point at rest somewhere in a square of 2 m by 2 m."""
        super().reset(seed=seed)
        position = self.np_random.uniform(-1.0, 1.0, 2)
        self.state = np.concatenate([position, np.zeros(2)]).astype(np.float32)
        return self.state, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Apply the force for 0.1 s."""
        velocity = self.state[2:] + TIME_STEP * action
        position = self.state[:2] + TIME_STEP * velocity
        self.state = np.concatenate([position, velocity]).astype(np.float32)
        reward = -float(np.square(position).sum() + 0.01 * np.square(action).sum())
        return self.state, reward, False, False, {}


def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return the reward [...] for obs [..., 4], action [..., 2] and next_obs [..., 4]."""
    return -next_obs[..., :2].square().sum(-1) - 0.01 * action.square().sum(-1)


gymnasium.register("PointMass-v0", entry_point=PointMass, max_episode_steps=50)
