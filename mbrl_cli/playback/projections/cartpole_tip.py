"""Cart-pole of gymnasium, with a discrete or a continuous force."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

# Sizes in pixels that the environment draws with.
WIDTH, HEIGHT = 600, 400
AXLE_HEIGHT = 107.5  # above the lower edge: the cart at 100, the axle a quarter of the cart above
POLE_WIDTH = 10.0


class CartPoleTip:
    """Follows the tip of the pole; an observation is (position, velocity, angle, its velocity)."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        sizes: Any = env.unwrapped
        self._scale = WIDTH / (2.0 * sizes.x_threshold)  # pixels per metre
        self._length = self._scale * 2.0 * sizes.length - POLE_WIDTH / 2.0  # `length` is half of it

    def points(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the column and the row [n, 2] for obs [n, 4]; see `Projection.points`."""
        position, angle = obs[:, 0], obs[:, 2]
        column = WIDTH / 2.0 + self._scale * position + self._length * np.sin(angle)
        row = HEIGHT - AXLE_HEIGHT - self._length * np.cos(angle)
        return np.stack([column, row], axis=1)
