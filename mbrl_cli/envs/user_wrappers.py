"""Wrappers of gymnasium environments that the config names in `env.wrappers`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gymnasium

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
            wrapped = wrapper(gym_env, **arguments)
        except BaseException as error:
            reraise_stop(error)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise UserError(f"{key}={path}: failed with {arguments} ({reason})") from error
        if not isinstance(wrapped, gymnasium.Env):
            raise UserError(
                f"{key}={path}: returned {type(wrapped).__name__}; it must return a gymnasium.Env"
            )
        gym_env = wrapped
    return gym_env
