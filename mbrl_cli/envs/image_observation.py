"""Observations that are images already, in the form that the image networks need."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from mbrl_cli.errors import UserError

MIN_SIZE = 16  # rows and columns of the smallest array with channels that counts as an image
MIN_GREY_SIZE = 32  # of the smallest array without channels; smaller ones are boards
MAX_SIZE = 64  # rows and columns that the networks see at most
MAX_CHANNELS = 16  # several frames may be stacked


class ImageObservation(gymnasium.ObservationWrapper[NDArray[np.uint8], Any, Any]):
    """Convert an image observation to uint8 [channels, size, size].

    The input has the axes (height, width, channels), (channels, height, width) or (height, width),
    and integers from 0 to 255 or floats from 0 to 1. It may be the only entry of a dict. Its size
    becomes the largest power of two that is not above `MAX_SIZE`, height and width, by averaging.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        layout = image_layout(env.observation_space)
        assert layout is not None
        self._key, space = _only_part(env.observation_space)
        assert isinstance(space, spaces.Box)
        self._shape = space.shape
        self._layout = layout
        self._scale = 255.0 if float(space.high.max()) <= 1.0 else 1.0
        channels, height, width = self._to_channels_first(np.zeros(space.shape)).shape
        self._size = 2 ** int(np.log2(min(height, width, MAX_SIZE)))
        self._unchanged = (height, width) == (self._size, self._size)
        self.observation_space = spaces.Box(0, 255, (channels, self._size, self._size), np.uint8)

    def observation(self, observation: Any) -> NDArray[np.uint8]:
        """Return the image [channels, size, size]."""
        image = np.asarray(observation if self._key is None else observation[self._key])
        if image.shape != self._shape:
            return image  # `Env` reports the wrong shape
        image = self._to_channels_first(image.astype(np.float32) * self._scale)
        pixels = torch.from_numpy(np.ascontiguousarray(image))
        if not self._unchanged:
            pixels = adaptive_avg_pool2d(pixels, self._size)
        if not bool(pixels.isfinite().all()):
            return pixels.numpy()  # `Env` reports it
        return pixels.round().clamp(0, 255).to(torch.uint8).numpy()

    def _to_channels_first(self, image: NDArray[Any]) -> NDArray[Any]:
        if self._layout == "grey":
            return image[None]  # [1, height, width]
        return image.transpose(2, 0, 1) if self._layout == "channels last" else image


def image_layout(space: gymnasium.Space[Any]) -> str | None:
    """Return 'channels last', 'channels first' or 'grey' for a space of images, else None."""
    _, space = _only_part(space)
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3):
        return None
    low, high = float(space.low.min()), float(space.high.max())
    is_float = np.issubdtype(space.dtype, np.floating)
    has_pixels = space.dtype == np.uint8 or (is_float and high in (1.0, 255.0))
    if low != 0.0 or not has_pixels:
        return None
    if len(space.shape) == 2:
        return "grey" if min(space.shape) >= MIN_GREY_SIZE else None
    first, middle, last = space.shape
    if last <= MAX_CHANNELS and last < min(first, middle) and min(first, middle) >= MIN_SIZE:
        return "channels last"
    if first <= MAX_CHANNELS and first < min(middle, last) and min(middle, last) >= MIN_SIZE:
        return "channels first"
    return None


def refuse_images_beside_other_parts(env_id: str, space: gymnasium.Space[Any]) -> None:
    """Raise UserError for a Dict of images and other parts, which no agent of this package reads.

    As one flat vector the pixels would outnumber the other parts by far.
    """
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    images = [key for key, part in parts.items() if image_layout(part)]
    others = [key for key in parts if key not in images]
    if not images or len(parts) == 1:
        return
    chosen = [images[:1], others] if others else [images[:1]]
    ways = " or ".join(
        "'env.wrappers=[{_target_: gymnasium.wrappers.FilterObservation, "
        f"filter_keys: [{', '.join(keys)}]}}]'"
        for keys in chosen
    )
    raise UserError(
        f"env.id={env_id}: its observations are a dict with images ({', '.join(images)}) among "
        f"{', '.join(parts)}, and agents read one image or a vector; choose with {ways}"
    )


def _only_part(space: gymnasium.Space[Any]) -> tuple[str | None, gymnasium.Space[Any]]:
    """Return the key and the space of the only part of a Dict; other spaces have no key."""
    if isinstance(space, spaces.Dict) and len(space.spaces) == 1:
        return next(iter(space.spaces.items()))
    return None, space
