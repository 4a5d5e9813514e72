"""Wrappers of gymnasium environments that the config names in `env.wrappers`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from mbrl_cli.envs.described_error import described_error
from mbrl_cli.envs.user_function import import_callable
from mbrl_cli.errors import UserError
from mbrl_cli.signals import reraise_stop

_FORMS = "allowed are package.Wrapper and {_target_: package.Wrapper, argument: value}"


def check_wrappers(wrappers: Any) -> list[str | dict[str, Any]]:
    """Return the value of `env.wrappers` as a list; UserError if it has another form."""
    items = [] if wrappers is None else wrappers
    if not isinstance(items, list | tuple):
        raise UserError(f"env.wrappers={wrappers}: must be a list [...]; {_FORMS}")
    for index, item in enumerate(items):
        path = item.get("_target_") if isinstance(item, dict) else item
        if not isinstance(path, str) or not re.fullmatch(r"\w+([.:]\w+)+", path):
            raise UserError(f"env.wrappers[{index}]={item}: {_FORMS}")
    return list(items)


def apply_wrappers(
    gym_env: gymnasium.Env[Any, Any], wrappers: Sequence[str | dict[str, Any]]
) -> gymnasium.Env[Any, Any]:
    """Return the environment in these wrappers, the first one innermost.

    A list among the arguments is passed as an array if the wrapper's annotation says so.

    Raises:
        UserError: if a wrapper does not exist, fails, or does not return an environment.
    """
    for index, item in enumerate(wrappers):
        key = f"env.wrappers[{index}]"
        arguments = dict(item) if isinstance(item, dict) else {}
        path = arguments.pop("_target_") if isinstance(item, dict) else item
        module_name, _, name = path.replace(":", ".").rpartition(".")
        wrapper = import_callable(key, path, module_name, name, "wrapper")
        try:
            wrapped = wrapper(gym_env, **_with_arrays(wrapper, arguments))
        except BaseException as error:
            reraise_stop(error)
            raise UserError(
                f"{key}={path}: failed with {arguments} ({described_error(error)})"
            ) from error
        if not isinstance(wrapped, gymnasium.Env):
            raise UserError(
                f"{key}={path}: returned {type(wrapped).__name__}; it must return a gymnasium.Env"
            )
        gym_env = wrapped
    return gym_env


def _with_arrays(wrapper: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments; a list becomes an array if the wrapper annotates it as one."""
    try:
        parameters = inspect.signature(wrapper).parameters
    except (TypeError, ValueError):  # code in C has no signature
        return arguments
    wants_array = {
        name for name, parameter in parameters.items() if "ndarray" in str(parameter.annotation)
    }
    return {
        name: np.asarray(value) if name in wants_array and isinstance(value, list) else value
        for name, value in arguments.items()
    }
