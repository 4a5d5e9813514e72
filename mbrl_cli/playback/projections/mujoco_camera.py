"""The camera of the image that a MuJoCo environment rendered last."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray


def image_points(
    env: gymnasium.Env[Any, Any], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the column and the row [n, 2] of world positions [n, 3] in metres.

    Args:
        env: the unwrapped environment, which has rendered an image.
        positions: points in front of the camera.
    """
    renderer: Any = env
    viewer = renderer.mujoco_renderer.viewer
    left, right = viewer.scn.camera  # of both eyes
    centre = (np.asarray(left.pos, np.float64) + np.asarray(right.pos, np.float64)) / 2.0
    forward, up = np.asarray(left.forward, np.float64), np.asarray(left.up, np.float64)
    offset = positions - centre
    scale = left.frustum_near / (offset @ forward)  # [n]
    height, width = viewer.viewport.height, viewer.viewport.width
    per_metre = height / (left.frustum_top - left.frustum_bottom)  # pixels on the near plane
    column = width / 2.0 + per_metre * scale * (offset @ np.cross(forward, up))
    row = per_metre * (left.frustum_top - scale * (offset @ up))
    return np.stack([column, row], axis=1)
