"""Which projection an environment has."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import gymnasium
from gymnasium import spaces

from mbrl_cli.envs.mujoco_tasks.forward_velocity import ForwardVelocity
from mbrl_cli.playback.projections.base import Projection

_PACKAGE = "mbrl_cli.playback.projections"
# Class of the unwrapped environment -> module and class of its projection. Both are names, so that
# only the environment in use is imported.
PROJECTIONS = {
    "gymnasium.envs.classic_control.cartpole.CartPoleEnv": "cartpole_tip.CartPoleTip",
    "mbrl_cli.envs.cartpole_continuous.CartPoleContinuous": "cartpole_tip.CartPoleTip",
    "gymnasium.envs.classic_control.pendulum.PendulumEnv": "pendulum_tip.PendulumTip",
    "mbrl_cli.envs.gridworld.GridWorld": "grid_cell.GridCell",
    "gymnasium.envs.mujoco.inverted_pendulum_v5.InvertedPendulumEnv": (
        "inverted_pendulum_tip.InvertedPendulumTip"
    ),
    "gymnasium.envs.mujoco.hopper_v5.HopperEnv": "planar_torso.PlanarTorso",
    "gymnasium.envs.mujoco.walker2d_v5.Walker2dEnv": "planar_torso.PlanarTorso",
    "gymnasium.envs.mujoco.half_cheetah_v5.HalfCheetahEnv": "planar_torso.PlanarTorso",
}


def projection_of(env: gymnasium.Env[Any, Any]) -> Projection | None:
    """Return where the states of an environment lie in its image; None if that is not known.

    An environment whose class has a method `image_projection()` gives its own. Observations must be
    vectors that no wrapper has changed.
    """
    inner: Any = env.unwrapped
    space = inner.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or _changes_observations(env):
        return None
    if hasattr(inner, "image_projection"):
        own: Projection = inner.image_projection()
        return own
    kind = type(inner)
    name = PROJECTIONS.get(f"{kind.__module__}.{kind.__qualname__}")
    if name is None:
        return None
    module, _, class_name = name.rpartition(".")
    built: Projection = getattr(import_module(f"{_PACKAGE}.{module}"), class_name)(env)
    return built


def _changes_observations(env: gymnasium.Env[Any, Any]) -> bool:
    """Return whether a wrapper changes observations; appending an entry is no change."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        same = layer.observation_space == layer.env.observation_space
        if isinstance(layer, gymnasium.ObservationWrapper) or not (
            same or isinstance(layer, ForwardVelocity)
        ):
            return True
        layer = layer.env
    return False
