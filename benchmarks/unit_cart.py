"""Environment UnitCart-v0: one task in any unit of observations and rewards."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class UnitCart(gymnasium.Env[np.ndarray, Any]):
    """Push a cart to a point 1 m to 2 m away, in 20 steps. The reward is minus the distance.

    Args:
        unit: number that stands for one metre in observations.
        coin: number that stands for a reward of 1.
        buttons: whether there are three discrete pushes, instead of one continuous push.
    """

    def __init__(self, unit: float = 1.0, coin: float = 1.0, buttons: bool = False) -> None:
        self.unit, self.coin, self.buttons = unit, coin, buttons
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (1,), np.float32)
        if buttons:
            self.action_space = spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start at rest at a random position in [-1, 0]; the goal is at 1."""
        super().reset(seed=seed)
        self.step_count = 0
        self.position, self.velocity = float(self.np_random.uniform(-1.0, 0.0)), 0.0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Push for one step; the velocity halves at every step."""
        push = action - 1.0 if self.buttons else float(action[0])
        self.velocity = 0.5 * self.velocity + 0.2 * push
        self.position += self.velocity
        self.step_count += 1
        reward = -abs(self.position - 1.0) * self.coin
        return self._observation(), reward, False, self.step_count >= 20, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.position, self.velocity]) * self.unit


gymnasium.register("UnitCart-v0", UnitCart)
