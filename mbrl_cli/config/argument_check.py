"""Check values from YAML and the command line against the signature of the class they configure.

A constructor is the schema of its YAML: names and defaults come from its signature, types and
ranges from its annotations, for example `Annotated[int, Bounds(1)]`.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mbrl_cli.errors import UserError, unknown_key
from mbrl_cli.types import ArgumentsOf, Bounds

# Arguments that `build` passes as objects; YAML never gives them.
OBJECT_ARGUMENTS = {"spec", "action", "device", "generator", "model", "planner"}


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class or function that YAML may give, in their order."""
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in OBJECT_ARGUMENTS and parameter.kind not in variable
    }


def types_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a class or function by parameter; Any where there is none.

    A name that only a type checker can import makes all annotations of the target Any: its values
    are then not checked.
    """
    try:
        hints = get_type_hints(
            target.__init__ if inspect.isclass(target) else target, include_extras=True
        )
    except NameError:
        hints = {}
    return {name: hints.get(name, Any) for name in parameters_of(target)}


def nested_target(hint: Any) -> Callable[..., Any] | None:
    """Return the class whose arguments a parameter holds (`ArgumentsOf`), None for other types."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(filter(None, map(nested_target, get_args(hint))), None)
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra.target for extra in extras if isinstance(extra, ArgumentsOf)), None)


def check_arguments(
    section: str, target: Callable[..., Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return `arguments` converted to the types of the target's signature.

    Args:
        section: the key that holds the arguments, for the error text: planner, agent.sac.
        target: the class or function that takes them.
        arguments: plain values by name.

    Raises:
        UserError: if a name is unknown or missing, or a value has the wrong type or range.
    """
    hints = types_of(target)
    for key in arguments:
        if key not in hints:
            raise UserError(unknown_key(f"{section}.{key}", key, hints))
    for key, parameter in parameters_of(target).items():
        if parameter.default is inspect.Parameter.empty and key not in arguments:
            raise UserError(f"{section}.{key}: missing; add {section}.{key}=VALUE")
    return {
        key: check_value(f"{section}.{key}", value, hints[key]) for key, value in arguments.items()
    }


def check_key(section: str, target: Callable[..., Any], key: str) -> None:
    """Raise UserError if the target has no argument `key`, for example horizon or sac.discount."""
    name, _, rest = key.partition(".")
    hints = types_of(target)
    if name not in hints:
        raise UserError(unknown_key(f"{section}.{name}", name, hints))
    nested = nested_target(hints[name])
    if rest and nested is not None:
        check_key(f"{section}.{name}", nested, rest)


def check_value(key: str, value: Any, hint: Any) -> Any:
    """Return `value` converted to the type `hint`; UserError with key, value and allowed values.

    A float without a fraction (1e5) is accepted as an integer, and an integer as a float.
    """
    nested = nested_target(hint)
    if nested is not None and isinstance(value, dict):
        return check_arguments(key, nested, value)
    accepted, result = _convert(value, hint)
    if accepted:
        return result
    shown = "null" if value is None else value
    raise UserError(f"{key}={shown}: must be {describe_type(hint)}")


def describe_type(hint: Any) -> str:
    """Return the allowed values of a type in words, for example 'a whole number >= 1'."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return "any value"
    if origin is Annotated:
        bounds = [str(extra) for extra in args[1:] if isinstance(extra, Bounds)]
        return " ".join([describe_type(args[0]), *bounds])
    if origin is Literal:
        options = ", ".join(str(arg) for arg in args)
        return options if len(args) == 1 else f"one of {options}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(option) for option in args)
    if origin in (list, tuple, Sequence):
        items = describe_type(args[0])
        for one, many in (("a whole number", "whole numbers"), ("a number", "numbers")):
            items = items.replace(one, many)
        return f"a list of {items}, such as [1, 2]"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    names |= {type(None): "null", dict: "a mapping"}
    return names.get(origin or hint, str(hint))


def _convert(value: Any, hint: Any) -> tuple[bool, Any]:
    """Return whether `value` fits the type, and the converted value."""
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
        conversions = [_convert(value, option) for option in args]
        return next((done for done in conversions if done[0]), (False, value))
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list) or not value:
            return False, value
        items = [_convert(item, args[0]) for item in value]
        return all(accepted for accepted, _ in items), [item for _, item in items]
    if origin is dict:
        return isinstance(value, dict), value
    if hint is type(None):
        return value is None, value
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_finite = is_number and abs(value) <= sys.float_info.max  # False for NaN
        return is_finite, float(value) if is_finite else value
    if hint is int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, hint), value
