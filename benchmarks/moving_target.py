"""Environment MovingTarget-v0: follow a target on a line; the observation is a Dict."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class MovingTarget(gymnasium.Env[dict[str, Any], int]):
    """Move left, stay or move right; the target makes normally distributed steps.

    The reward is minus the distance. The episode terminates if the distance exceeds 2.
    """

    def __init__(self) -> None:
        """Build the spaces."""
        self.action_space = spaces.Discrete(3)
        self.observation_space = spaces.Dict(
            {
                "distance": spaces.Box(-10.0, 10.0, (1,), np.float64),
                "is_left": spaces.MultiBinary(1),
                "last_action": spaces.Discrete(3),
                "nested": spaces.Dict({"position": spaces.Box(-100.0, 100.0, (2,), np.float32)}),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Put both near the middle."""
        super().reset(seed=seed)
        self.position, self.target = self.np_random.uniform(-0.5, 0.5, 2)
        self.last_action = 1
        return self._obs(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move by -0.3, 0 or 0.3."""
        self.last_action = int(action)
        self.position += 0.3 * (action - 1)
        self.target += self.np_random.normal(0.0, 0.2)
        distance = abs(self.target - self.position)
        return self._obs(), -float(distance), bool(distance > 2.0), False, {}

    def _obs(self) -> dict[str, Any]:
        distance = self.target - self.position
        return {
            "distance": np.array([np.clip(distance, -10.0, 10.0)]),
            "is_left": np.array([distance < 0.0], np.int8),
            "last_action": self.last_action,
            "nested": {"position": np.array([self.position, self.target], np.float32)},
        }


gymnasium.register("MovingTarget-v0", MovingTarget, max_episode_steps=50)
