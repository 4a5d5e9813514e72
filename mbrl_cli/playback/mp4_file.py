"""Frames as an MP4 video (pip extra video)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.errors import UserError, install_extra


def check_mp4(path: Path) -> None:
    """Raise UserError if the packages that write MP4 are missing."""
    if find_spec("imageio") is None or find_spec("imageio_ffmpeg") is None:
        raise UserError(
            f"--video {path}: needs imageio-ffmpeg, or a name that ends in .gif; "
            f"{install_extra('video')}"
        )


class Mp4File:
    """Writes each frame as it comes (H.264)."""

    def __init__(self, path: Path, frames_per_second: float) -> None:
        import imageio.v2

        self._writer: Any = imageio.v2.get_writer(
            path, format="FFMPEG", fps=frames_per_second, codec="libx264", macro_block_size=2
        )

    def show(self, frame: NDArray[np.uint8]) -> bool:
        """Add a frame; see `Screen.show`."""
        self._writer.append_data(frame)
        return True

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
