"""An environment with a Dict observation: move a cart on a rail to a mark and stop there."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from torch import Tensor

TIME_STEP = 0.1  # seconds
MASS = 0.5  # kg


class RailCart(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Observation: distance from the mark in m, velocity in m/s; action: force in N, at most 1 N.

    The reward is minus the distance from the mark.
    """

    def __init__(self) -> None:
        entry = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.observation_space = spaces.Dict({"position": entry, "velocity": entry})
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Put the cart at rest, up to 1 m from the mark."""
        super().reset(seed=seed)
        self.position, self.velocity = float(self.np_random.uniform(-1.0, 1.0)), 0.0
        return self._observation(), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Apply the force for 0.1 s."""
        self.velocity += TIME_STEP * float(action[0]) / MASS
        self.position += TIME_STEP * self.velocity
        return self._observation(), -abs(self.position), False, False, {}

    def _observation(self) -> dict[str, np.ndarray]:
        values = {"position": self.position, "velocity": self.velocity}
        return {key: np.array([value], np.float32) for key, value in values.items()}


def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return the reward [...]; an observation [..., 2] holds position and velocity."""
    return -next_obs[..., 0].abs()


gymnasium.register("RailCart-v0", entry_point=RailCart, max_episode_steps=40)
