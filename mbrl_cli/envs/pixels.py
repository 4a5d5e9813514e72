"""Pictures as observations, from anything that renders `rgb_array`; repeated actions."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from mbrl_cli.errors import UserError

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # how bright red, green and blue look


class Pixels(gymnasium.Wrapper[NDArray[np.uint8], Any, Any, Any]):
    """Show the last `frames` pictures, the newest last: uint8 [frames * channels, size, size].

    An episode's first picture stands in for those before it.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], size: int, grey: bool, frames: int) -> None:
        super().__init__(env)
        self.size = size
        self.grey = grey
        channels = 1 if grey else 3
        shape = (frames * channels, size, size)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=frames)
        env.reset(seed=0)
        self._picture()  # what cannot render shall say so now

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start an episode."""
        _, info = self.env.reset(seed=seed, options=options)
        picture = self._picture()
        self._frames.extend([picture] * (self._frames.maxlen or 1))
        return self._shown(), info

    def step(self, action: Any) -> tuple[NDArray[np.uint8], Any, bool, bool, dict[str, Any]]:
        """Take one step and look."""
        _, reward, terminated, truncated, info = self.env.step(action)
        self._frames.append(self._picture())
        return self._shown(), reward, terminated, truncated, info

    def _shown(self) -> NDArray[np.uint8]:
        return np.concatenate(self._frames)  # [frames * channels, size, size]

    def _picture(self) -> NDArray[np.uint8]:
        """Return what is to be seen now [channels, size, size]: each pixel a mean of many."""
        rendered = np.asarray(self.env.render())
        if rendered.ndim != 3 or rendered.shape[-1] != 3:
            raise UserError("env.obs=pixels: the environment does not render rgb_array")
        picture = rendered.astype(np.float32)  # [height, width, 3]
        picture = (picture @ LUMINANCE)[None] if self.grey else picture.transpose(2, 0, 1)
        small = adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(picture)), self.size)
        return small.round().to(torch.uint8).numpy()


class ActionRepeat(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Take every action `times` times, or until the episode is over; sum up what it pays."""

    def __init__(self, env: gymnasium.Env[Any, Any], times: int) -> None:
        super().__init__(env)
        self.times = times

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take the action."""
        total = 0.0
        for _ in range(self.times):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info
