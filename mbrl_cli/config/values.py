"""Values from YAML and the command line, checked against the signature that they configure."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mbrl_cli.errors import UserError, nearest
from mbrl_cli.types import ArgumentsOf, Bounds

# Arguments that are handed over as live objects, never read from YAML.
LIVE = {"spec", "action", "device", "generator", "model", "planner"}


def check_arguments(
    group: str, target: Callable[..., Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return `arguments` checked against the target's signature: its names, types and bounds."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in LIVE
    }
    for key in arguments:
        if key not in parameters:
            raise UserError(unknown_key(f"{group}.{key}", key, parameters))
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise UserError(f"{group}.{name}: missing; add {group}.{name}=VALUE")
    function = target.__init__ if inspect.isclass(target) else target
    hints = get_type_hints(function, include_extras=True)
    return {
        key: check_value(f"{group}.{key}", value, hints.get(key, Any))
        for key, value in arguments.items()
    }


def unknown_key(full_key: str, key: str, allowed: Iterable[str]) -> str:
    """Return the line about a key that does not exist, with the nearest ones that do."""
    close = nearest(key, allowed)
    hint = f"did you mean {', '.join(close)}?" if close else f"allowed are {', '.join(allowed)}"
    return f"{full_key}: unknown key; {hint}"


def check_value(key: str, value: Any, hint: Any) -> Any:
    """Return `value` as the type that `hint` says, or raise UserError with key, value, allowed.

    Whole floats pass for integers (1e5) and integers for floats.
    """
    for extra in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        if isinstance(extra, ArgumentsOf) and isinstance(value, dict):
            return check_arguments(key, extra.target, value)
    accepted, result = _convert(value, hint)
    if accepted:
        return result
    shown = "null" if value is None else value
    raise UserError(f"{key}={shown}: must be {_describe(hint)}")


def _convert(value: Any, hint: Any) -> tuple[bool, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return True, value
    if origin is Annotated:
        accepted, result = _convert(value, args[0])
        bounds = [extra for extra in args[1:] if isinstance(extra, Bounds)]
        return accepted and all(bound.allows(result) for bound in bounds), result
    if origin is Literal:
        return value in args, value
    if origin in (Union, types.UnionType):
        tried = [_convert(value, option) for option in args]
        return next((good for good in tried if good[0]), (False, value))
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list) or not value:
            return False, value
        items = [_convert(item, args[0]) for item in value]
        return all(good for good, _ in items), [item for _, item in items]
    if origin is dict:
        return isinstance(value, dict), value
    if hint is type(None):
        return value is None, value
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        number = number and abs(value) <= sys.float_info.max  # neither NaN nor infinite
        return number, float(value) if number else value
    if hint is int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, hint), value


def _describe(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([_describe(args[0]), *[str(b) for b in args[1:] if isinstance(b, Bounds)]])
    if origin is Literal:
        return "one of " + ", ".join(str(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in args)
    if origin in (list, tuple, Sequence):
        return f"a list of {_describe(args[0])}, such as [1, 2]"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    names |= {type(None): "null", dict: "a mapping"}
    return names.get(origin or hint, str(hint))
