"""InvertedPendulum of gymnasium (MuJoCo)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from mbrl_cli.playback.projections.mujoco_camera import image_points

POLE_LENGTH = 0.6  # metres, from the cart to the end of the capsule's axis


class InvertedPendulumTip:
    """Follows the tip of the pole; an observation is (position, angle, both velocities)."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env = env.unwrapped

    def points(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the column and the row [n, 2] for obs [n, 4]; see `Projection.points`."""
        position, angle = obs[:, 0], obs[:, 1]
        tip = [
            position + POLE_LENGTH * np.sin(angle),
            np.zeros(len(obs)),
            POLE_LENGTH * np.cos(angle),
        ]
        return image_points(self._env, np.stack(tip, axis=1))
