"""Compile loops over arrays where numba is installed; without it they run as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return `function` as machine code (pip extra `fast`), or as it is."""
    try:
        from numba import njit
    except ImportError:
        return function
    return cast(Callable[_P, _R], njit(cache=True)(function))
