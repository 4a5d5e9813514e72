"""The plug point that finds states in a rendered image."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray


class Projection(Protocol):
    """Finds the point of a state that a viewer follows, such as the tip of a pole, in an image.

    It is built with the environment and its wrappers, for sizes such as `env.unwrapped.length`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None: ...

    def points(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the column and the row [n, 2] for observations [n, O].

        Both are pixels of the image that `render` returned last, with (0, 0) at the upper left
        corner. They need not be whole numbers and may lie outside of the image.

        Args:
            obs: the present observation, then the imagined ones, in the order of time.
        """
        ...
