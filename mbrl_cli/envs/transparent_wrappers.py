"""Wrappers that change neither observations nor actions nor rewards."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import wrappers

from mbrl_cli.envs.interface_check import InterfaceCheck

_TRANSPARENT: set[type] = {
    InterfaceCheck,
    wrappers.HumanRendering,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    wrappers.RenderCollection,
    wrappers.TimeLimit,
}


def without_transparent_wrappers(gym_env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return the outermost layer that is not such a wrapper: the environment, or a wrapper."""
    layer = gym_env
    while isinstance(layer, gymnasium.Wrapper) and type(layer) in _TRANSPARENT:
        layer = layer.env
    return layer
