"""Functions and wrappers of the user that the config names by their import path."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mbrl_cli.errors import UserError, nearest
from mbrl_cli.signals import reraise_stop


def load_user_function(key: str, path: str, other_choices: str) -> Callable[..., Any]:
    """Return the function that `key=package.module:function` names.

    Args:
        key: the config key, for error messages.
        path: the key's value.
        other_choices: the allowed values that are not a path, for error messages.

    Raises:
        UserError: if `path` is not of this form, or if the module or the function does not exist.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise UserError(f"{key}={path}: allowed are {other_choices}, package.module:function")
    return import_callable(key, path, module_name, name, "function")


def import_callable(
    key: str, path: str, module_name: str, name: str, kind: str
) -> Callable[..., Any]:
    """Return the callable `name` of a user's module.

    Args:
        key: the config key, for error messages.
        path: the key's value, for error messages.
        module_name: the module.
        name: the callable.
        kind: "function" or "wrapper", for error messages.

    Raises:
        UserError: if the module cannot be imported or has no such callable.
    """
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:  # an import may raise anything, SystemExit too
        reraise_stop(error)
        reason = " ".join(str(error).split())[:200]
        if not isinstance(error, ImportError):
            reason = f"{type(error).__name__}: {reason}"
        raise UserError(f"{key}={path}: cannot import {module_name}: {reason}") from error
    found = getattr(module, name, None)
    if not callable(found):
        close = nearest(name, [other for other in vars(module) if not other.startswith("_")])
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UserError(f"{key}={path}: {module_name} has no {kind} {name}{hint}")
    loaded: Callable[..., Any] = found
    return loaded


def check_returned_shape(
    what: str, function: Callable[..., Any], arguments: tuple[Tensor, ...], shape: tuple[int, ...]
) -> None:
    """Call `function` and raise UserError unless it returns a tensor of `shape`.

    Args:
        what: subject of the error message, for example `env.reward=mine:f`.
        function: the function of the user.
        arguments: its arguments; the first is obs.
        shape: the expected shape.
    """
    obs_shape = list(arguments[0].shape)
    try:
        result = function(*arguments)
    except Exception as error:  # any exception that the user's code raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{what}: failed for obs {obs_shape} ({reason})") from error
    if not isinstance(result, Tensor) or result.shape != shape:
        returned = list(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise UserError(
            f"{what}: returned {returned} for obs {obs_shape}; "
            f"it must return a tensor {list(shape)}"
        )


def example_inputs(obs_dim: int, action_dim: int) -> tuple[Tensor, Tensor]:
    """Return zeros obs [2, 3, O] and action [2, 3, A] to check a function's shapes with.

    There are two leading axes, so that a function that uses `obs[:, 0]` instead of `obs[..., 0]`
    is found here and not inside a planner.
    """
    return torch.zeros(2, 3, obs_dim), torch.zeros(2, 3, action_dim)
