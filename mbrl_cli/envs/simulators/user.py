"""Simulators of the user that the config names as `env.simulator=package.module:function`."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch

from mbrl_cli.envs.user_function import check_returned_shape, example_inputs, load_user_function
from mbrl_cli.errors import UserError
from mbrl_cli.types import Simulator


def user_simulator(
    path: str, gym_env: gymnasium.Env[Any, Any], obs_dim: int, action_dim: int
) -> Simulator:
    """Build the simulator that `env.simulator=package.module:function` names.

    Args:
        path: the key's value; the function gets `gym_env` and returns an object with the methods
            of `mbrl_cli.types.Simulator`. It need not inherit from that class.
        gym_env: the environment with all its wrappers.
        obs_dim: length O of a flat observation.
        action_dim: length A of an encoded action.

    Raises:
        UserError: if the function does not exist or fails, if a method is missing, or if a method
            returns a wrong shape.
    """
    key = f"env.simulator={path}"
    function = load_user_function("env.simulator", path, "auto")
    try:
        simulator: Any = function(gym_env)
    except Exception as error:  # any exception that the user's code raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{key}: failed for the environment ({reason})") from error
    for method in ("step", "reward", "terminated"):
        if not callable(getattr(simulator, method, None)):
            raise UserError(
                f"{key}: returned {type(simulator).__name__} without a method {method}; it must "
                "return an object with step, reward and terminated, see mbrl_cli.types.Simulator"
            )
    if not hasattr(simulator, "is_random"):
        simulator.is_random = False  # the default of `Simulator`, from which it need not inherit
    obs, action = example_inputs(obs_dim, action_dim)
    rows = obs.shape[:-1]
    check_returned_shape(f"{key}: step", simulator.step, (obs, action), obs.shape)
    if simulator.is_random:
        uniform = torch.full(rows, 0.5)
        check_returned_shape(f"{key}: step", simulator.step, (obs, action, uniform), obs.shape)
    check_returned_shape(f"{key}: reward", simulator.reward, (obs, action, obs), rows)
    check_returned_shape(f"{key}: terminated", simulator.terminated, (obs, action, obs), rows)
    checked: Simulator = simulator
    return checked
