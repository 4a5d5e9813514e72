"""Reward and termination functions that are given instead of learned."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from mbrl_cli.envs.simulators.lookup import SIMULATED_IDS
from mbrl_cli.envs.spaces import ActionCodec
from mbrl_cli.errors import UserError, nearest
from mbrl_cli.types import Simulator, TransitionFn


def known_function(
    role: Literal["reward", "termination"],
    choice: str,
    env_id: str,
    obs_dim: int,
    codec: ActionCodec,
    simulator: Simulator | None,
) -> TransitionFn | None:
    """Return the function that `env.<role>=<choice>` stands for; None where it is learned.

    A function named `package.module:function` gets the action in the environment's own units
    (`ActionCodec.decode`). Raises UserError where there is no such function, or where it does
    not return one number for each row.
    """
    if choice == "learned":
        return None
    if choice == "known":
        if simulator is None:
            raise UserError(
                f"env.{role}=known: no simulator of {env_id} with these wrappers and kwargs; "
                f"simulated are {', '.join(SIMULATED_IDS)}"
            )
        return simulator.reward if role == "reward" else simulator.terminated
    function = _load(f"env.{role}={choice}", choice)

    def of_encoded(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return function(obs, codec.decode(action), next_obs)

    # Two leading axes tell `obs[:, 0]` from `obs[..., 0]` here, not deep inside a planner.
    obs, action = torch.zeros(2, 3, obs_dim), torch.zeros(2, 3, codec.spec.dim)
    result = of_encoded(obs, action, obs)
    if not isinstance(result, Tensor) or result.shape != (2, 3):
        got = list(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise UserError(
            f"env.{role}={choice}: returned {got} for obs [2, 3, {obs_dim}]; "
            "it must return a tensor [2, 3]"
        )
    return of_encoded


def _load(setting: str, choice: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    module_name, _, name = choice.partition(":")
    if not module_name or not name:
        raise UserError(f"{setting}: allowed are learned, known, package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"{setting}: cannot import {module_name}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        close = nearest(name, [key for key in vars(module) if not key.startswith("_")])
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UserError(f"{setting}: {module_name} has no function {name}{hint}")
    loaded: Callable[[Tensor, Tensor, Tensor], Tensor] = function
    return loaded
