"""Pendulum of gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

WORLD_SIZE = 4.4  # width of the image in lengths of the rod


class PendulumTip:
    """Follows the tip of the rod; an observation is (cos, sin, velocity) of the angle.

    The mean of predictions that disagree lies inside the circle.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        sizes: Any = env.unwrapped
        self._size = float(sizes.screen_dim)
        self._length = self._size / WORLD_SIZE  # pixels

    def points(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the column and the row [n, 2] for obs [n, 3]; see `Projection.points`."""
        up, left = obs[:, 0], obs[:, 1]
        centre = self._size / 2.0
        return np.stack([centre - self._length * left, centre - self._length * up], axis=1)
