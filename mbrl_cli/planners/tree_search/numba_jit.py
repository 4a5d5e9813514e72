"""Compile loops over arrays with numba if it is installed; otherwise run them as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_R = TypeVar("_R")


def numba_jit(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return `function` compiled by numba (pip extra `fast`), or unchanged without numba.

    The machine code is cached beside the source file, or in the user's cache folder where that
    cannot be written. If neither can be written, each process compiles the function. numba compiles
    it again only if that file changes, so a compiled function must not call or read anything from
    another module.

    The machine code counts no references to arrays (`_nrt=False`): counting took two thirds of the
    time of a search. So a compiled function must not create an array, return one, or assign a
    slice; numba refuses to compile it otherwise.
    """
    try:
        from numba import njit
    except ImportError:
        return function
    options: dict[str, Any] = {"_nrt": False}  # not among numba's annotations
    try:
        return cast(Callable[_P, _R], njit(cache=True, **options)(function))
    except RuntimeError:  # no folder for the cache can be written
        return cast(Callable[_P, _R], njit(**options)(function))
