"""Where frames go: a file or a window."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Screen(Protocol):
    """Takes the frames of episodes, all of one size."""

    def show(self, frame: NDArray[np.uint8]) -> bool:
        """Take a frame [height, width, 3]; return false if the viewer wants to see no more."""
        ...

    def close(self) -> None:
        """Finish the file or close the window."""
        ...
