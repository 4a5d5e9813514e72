"""Hopper, Walker2d and HalfCheetah of gymnasium (MuJoCo)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.playback.projections.mujoco_camera import image_points


class PlanarTorso:
    """Follows the torso of a body that moves in the plane y = 0.

    An observation has the height first. It lacks the horizontal position, so the imagined
    velocities are summed from the present position on. If the environment observes the position
    (`exclude_current_positions_from_observation=false`), it is read.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        body: Any = env.unwrapped
        self._env = body
        self._step_seconds = float(body.dt) * _repeats(env)
        self._num_positions = int(body.model.nq)
        excluded = body.observation_structure["skipped_qpos"]
        self._has_position = not excluded

    def points(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the column and the row [n, 2] for obs [n, O]; see `Projection.points`."""
        present = self._env.data.qpos
        if self._has_position:
            x, height = obs[:, 0], obs[:, 1]
        else:
            speed = obs[:, self._num_positions - 1]
            steps = self._step_seconds * (speed[1:] + speed[:-1]) / 2.0
            x = present[0] + np.concatenate([[0.0], np.cumsum(steps)])
            height = obs[:, 0]
        torso = self._env.data.body("torso").xpos
        rise = torso[2] - present[1]  # HalfCheetah's height is 0 where its torso is at 0.7 m
        return image_points(self._env, np.stack([x, np.zeros(len(obs)), height + rise], axis=1))


def _repeats(env: gymnasium.Env[Any, Any]) -> int:
    """Return the number of environment steps for which an action is repeated."""
    times = 1
    while isinstance(env, gymnasium.Wrapper):
        times *= env.times if isinstance(env, ActionRepeat) else 1
        env = env.env
    return times
