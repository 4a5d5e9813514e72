"""Wrappers of gymnasium environments that the config names in `env.wrappers`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium

from mbrl_cli.errors import UserError, nearest

_FORMS = "allowed are package.Wrapper and {_target_: package.Wrapper, argument: value}"


def apply_wrappers(
    gym_env: gymnasium.Env[Any, Any], wrappers: Sequence[Any]
) -> gymnasium.Env[Any, Any]:
    """Return the environment in these wrappers, the first one innermost.

    Raises:
        UserError: if a wrapper does not exist, fails, or does not return an environment.
    """
    for index, given in enumerate(wrappers):
        key = f"env.wrappers[{index}]"
        arguments = {}
        path = given
        if isinstance(given, Mapping):
            arguments = {str(name): value for name, value in given.items() if name != "_target_"}
            path = given.get("_target_")
        wrapper = _load(key, path)
        try:
            wrapped = wrapper(gym_env, **arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise UserError(f"{key}={path}: failed with {arguments} ({reason})") from error
        if not isinstance(wrapped, gymnasium.Env):
            raise UserError(
                f"{key}={path}: returned {type(wrapped).__name__}; it must return a gymnasium.Env"
            )
        gym_env = wrapped
    return gym_env


def _load(key: str, path: Any) -> Callable[..., Any]:
    module_name, _, name = str(path).replace(":", ".").rpartition(".")
    if not isinstance(path, str) or not module_name:
        raise UserError(f"{key}={path}: {_FORMS}")
    try:
        module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an import may raise anything, SystemExit too
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{key}={path}: cannot import {module_name} ({reason})") from error
    wrapper = getattr(module, name, None)
    if not callable(wrapper):
        close = nearest(name, [other for other in vars(module) if not other.startswith("_")])
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UserError(f"{key}={path}: {module_name} has no wrapper {name}{hint}")
    loaded: Callable[..., Any] = wrapper
    return loaded
