"""Frames as an animated GIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = 128  # of a palette; fewer make smaller files


class GifFile:
    """Collects frames and writes them when it is closed."""

    def __init__(self, path: Path, frames_per_second: float) -> None:
        # A GIF counts time in hundredths of a second; browsers slow down delays below 2 of them.
        self._delay_ms = 10 * max(2, round(100.0 / frames_per_second))
        self._path = path
        self._frames: list[Image.Image] = []

    def show(self, frame: NDArray[np.uint8]) -> bool:
        """Add a frame; see `Screen.show`."""
        picture = Image.fromarray(frame)
        self._frames.append(picture.quantize(COLOURS, dither=Image.Dither.NONE))
        return True

    def close(self) -> None:
        """Write the file, if there is a frame."""
        if not self._frames:
            return
        first, *others = self._frames
        first.save(
            self._path, "GIF", save_all=True, append_images=others, duration=self._delay_ms, loop=0
        )
