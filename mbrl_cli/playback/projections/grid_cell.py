"""The grid world of this package."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from mbrl_cli.envs.gridworld import CELL_PIXELS


class GridCell:
    """Follows the middle of the cell; an observation is (x, y), and y points up."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        grid: Any = env.unwrapped
        self._size = int(grid.size)

    def points(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the column and the row [n, 2] for obs [n, 2]; see `Projection.points`."""
        column = (obs[:, 0] + 0.5) * CELL_PIXELS
        row = (self._size - obs[:, 1] - 0.5) * CELL_PIXELS
        return np.stack([column, row], axis=1)
