"""Rendered images as observations."""

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

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green, blue (BT.601)


class Pixels(gymnasium.Wrapper[NDArray[np.uint8], Any, Any, Any]):
    """Replace the observation by the last `frames` rendered images.

    The observation is uint8 [frames * channels, size, size], the newest image last; channels is 1
    if `grey`, else 3. At the start of an episode the first image is repeated. The environment must
    render `rgb_array`.
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
        self._image()  # raises now if the environment cannot render

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start an episode."""
        _, info = self.env.reset(seed=seed, options=options)
        image = self._image()
        self._frames.extend([image] * (self._frames.maxlen or 1))
        return self._observation(), info

    def step(self, action: Any) -> tuple[NDArray[np.uint8], Any, bool, bool, dict[str, Any]]:
        """Take one step and render it."""
        _, reward, terminated, truncated, info = self.env.step(action)
        self._frames.append(self._image())
        return self._observation(), reward, terminated, truncated, info

    def _observation(self) -> NDArray[np.uint8]:
        return np.concatenate(self._frames)  # [frames * channels, size, size]

    def _image(self) -> NDArray[np.uint8]:
        """Render and downscale by averaging; return [channels, size, size]."""
        rendered = np.asarray(self.env.render())
        if rendered.ndim != 3 or rendered.shape[-1] != 3:
            raise UserError("env.obs=pixels: the environment does not render rgb_array")
        image = rendered.astype(np.float32)  # [height, width, 3]
        # [channels, height, width]
        image = (image @ LUMINANCE)[None] if self.grey else image.transpose(2, 0, 1)
        small = adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(image)), self.size)
        return small.round().to(torch.uint8).numpy()
