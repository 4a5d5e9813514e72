"""Compare the types and tensor shapes of a saved state with those of a new object."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from mbrl_cli.errors import UserError

LARGEST_NUMBER = 2**63  # counters of a run are far below; larger ones overflow int64


def refuse_other_shapes(saved: Any, built: Any, hint: str, name: str = "model") -> None:
    """Raise UserError for the first value whose shape or type differs, or that one side lacks.

    A value that is empty in `built` grows during a run: any saved length is accepted there.
    Integers and floats may replace each other.

    Args:
        saved: a saved `state_dict`.
        built: `state_dict` of the object that will load it; only names, shapes and types count.
        hint: start of the error text.
        name: name of the value in the error text.
    """
    if isinstance(built, dict) and built and isinstance(saved, dict):
        for key in [key for key in built | saved if key not in saved or key not in built]:
            where = "missing in what was saved" if key in built else "not in what is built now"
            raise UserError(f"{hint}: {name}.{key} is {where}")
        for key, value in built.items():
            refuse_other_shapes(saved[key], value, hint, f"{name}.{key}")
        return
    if isinstance(built, list | tuple) and built and isinstance(saved, list | tuple):
        if len(saved) != len(built):
            raise UserError(
                f"{hint}: {name} has {len(saved)} entries in what was saved, {len(built)} now"
            )
        for i, (one, other) in enumerate(zip(saved, built, strict=True)):
            refuse_other_shapes(one, other, hint, f"{name}.{i}")
        return
    if isinstance(built, Tensor | np.ndarray) and isinstance(saved, Tensor | np.ndarray):
        shapes = [list(value.shape) for value in (saved, built)]
        if shapes[1][:1] == [0]:
            shapes = [shape[1:] for shape in shapes]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{hint}: {name} has shape {shapes[0]} in what was saved, {shapes[1]} now"
            )
    if not _have_same_type(saved, built):
        kinds = [_type_name(value) for value in (saved, built)]
        raise UserError(f"{hint}: {name} is a {kinds[0]} in what was saved, a {kinds[1]} now")


def _have_same_type(saved: Any, built: Any) -> bool:
    """Return whether `saved` can take the place of `built`; containers by their type alone."""
    if isinstance(built, Tensor | np.ndarray):
        return type(saved) is type(built) and saved.dtype == built.dtype
    if built is None or isinstance(built, int | float):  # None: a number that is not set yet
        is_number = isinstance(saved, int | float) and abs(saved) < LARGEST_NUMBER
        is_special = isinstance(saved, float) and not math.isfinite(saved)
        if isinstance(built, bool) or isinstance(saved, bool):
            return isinstance(saved, bool) and isinstance(built, bool)
        return (built is None and saved is None) or is_number or is_special
    if isinstance(built, dict | list | tuple):  # empty: grows during a run
        return isinstance(saved, type(built)) and _holds_numbers(saved)
    return type(saved) is type(built)


def _holds_numbers(value: Any) -> bool:
    """Return whether all entries of nested dicts and lists are numbers or tensors."""
    if isinstance(value, dict | list | tuple):
        return all(map(_holds_numbers, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int | float | Tensor | np.ndarray)


def _type_name(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{value.dtype} {type(value).__name__}"
    return type(value).__name__
