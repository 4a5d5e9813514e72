"""Compare the tensor shapes of a saved state with those of a new object."""

from __future__ import annotations

from typing import Any

from mbrl_cli.errors import UserError


def refuse_other_shapes(saved: Any, built: Any, hint: str, name: str = "model") -> None:
    """Raise UserError for the first tensor whose shape differs, or that one side lacks.

    A value that is empty in `built` grows during a run: any saved length is accepted there.

    Args:
        saved: a saved `state_dict`.
        built: `state_dict` of the object that shall load it; only names and shapes count.
        hint: start of the error text.
        name: name of the value in the error text.
    """
    if isinstance(saved, dict) and isinstance(built, dict):
        if not built:
            return
        for key in [key for key in built | saved if key not in saved or key not in built]:
            where = "missing in what was saved" if key in built else "not in what is built now"
            raise UserError(f"{hint}: {name}.{key} is {where}")
        for key, value in built.items():
            refuse_other_shapes(saved[key], value, hint, f"{name}.{key}")
        return
    shapes = [list(getattr(value, "shape", ())) for value in (saved, built)]
    if shapes[1][:1] == [0]:
        shapes = [shape[1:] for shape in shapes]
    if shapes[0] != shapes[1] or isinstance(saved, dict) != isinstance(built, dict):
        raise UserError(f"{hint}: {name} has shape {shapes[0]} in what was saved, {shapes[1]} now")
