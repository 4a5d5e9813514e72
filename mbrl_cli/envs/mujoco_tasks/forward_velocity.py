"""Forward velocity as a further entry of an observation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class ForwardVelocity(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Append the mean x velocity of the last step, as the task's reward has it; 0 after a reset.

    The velocities that MuJoCo tasks observe are those at the end of a step; their rewards use the
    distance that was covered during it. PETS (Chua et al. 2018) observes this velocity as well.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"needs vectors, and the environment observes {space}")
        low, high = np.append(space.low, -np.inf), np.append(space.high, np.inf)
        dtype: Any = space.dtype
        self.observation_space = spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        return np.append(obs, obs.dtype.type(0.0)), info

    def step(self, action: Any) -> tuple[NDArray[Any], Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if "x_velocity" not in info:
            raise ValueError("ForwardVelocity needs a task that reports x_velocity in info")
        obs = np.append(obs, obs.dtype.type(info["x_velocity"]))
        return obs, reward, terminated, truncated, info
