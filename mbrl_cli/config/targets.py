"""Import the class or function that a `_target_` names."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, cast

from mbrl_cli.errors import UserError


def import_target(group: str, path: Any) -> Callable[..., Any]:
    """Return the class or function with the dotted name `path`; UserError if there is none."""
    module, _, name = str(path).rpartition(".")
    try:
        target: Any = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing a user's module may raise any exception
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{group}._target_={path}: cannot be imported ({reason})") from error
    if not callable(target):
        raise UserError(f"{group}._target_={path}: is not a class or function")
    try:
        inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise UserError(f"{group}._target_={path}: has no signature ({error})") from error
    return cast(Callable[..., Any], target)


def make_importable(folder: str) -> None:
    """Let modules in a folder be imported, unless an installed package has the same name.

    The folder is searched last: a file numpy.py in it must not replace numpy. Hydra executes every
    module of a package `hydra_plugins` that it finds when it first looks for its plugins, so it
    looks before the folder is added.
    """
    from hydra.core.plugins import Plugins

    Plugins.instance()
    if folder not in sys.path:
        sys.path.append(folder)
