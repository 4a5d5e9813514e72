"""Describe the keys of a choice: default, value for an environment, allowed values and comment."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mbrl_cli.config.argument_check import describe_type, nested_target, parameters_of, types_of
from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.groups import find_file
from mbrl_cli.config.targets import import_target
from mbrl_cli.config.yaml_comments import composed_comments, key_comments
from mbrl_cli.config.yaml_values import format_default, format_value


@dataclass(frozen=True)
class ChoiceKey:
    """One key of a choice, as text."""

    name: str  # without the group: horizon, sac.discount
    default: str  # with a star where an environment may recommend another value
    for_env: str  # the value in a run on the environment given by env=NAME
    allowed: str
    comment: str


def group_keys(
    group: str, name: str, env: str | None = None, user_dir: Path | None = None
) -> list[ChoiceKey]:
    """Return the keys of one choice in the order of the class's signature.

    Args:
        group: env, model, planner or agent.
        name: the choice, for example cem.
        env: a choice of env whose recommended values fill `for_env`; None: the default one.
        user_dir: the folder of `--config-dir`.

    Raises:
        UserError: if a choice does not exist or its class cannot be imported.
    """
    overrides = [f"{group}={name}"]
    if env is not None and group != "env":
        overrides.append(f"env={env}")
    config = compose_config(overrides, user_dir)
    raw = OmegaConf.to_container(config[group], resolve=False)
    resolved = OmegaConf.to_container(config[group], resolve=True)
    assert isinstance(raw, dict)
    assert isinstance(resolved, dict)
    if raw.get("_target_") is None:
        return []
    return _describe(
        target=import_target(group, raw["_target_"]),
        raw=raw,
        resolved=resolved,
        comments=composed_comments(overrides, user_dir),
        group=group,
        prefix="",
    )


def file_keys(group: str, name: str, user_dir: Path | None = None) -> list[ChoiceKey]:
    """Return the keys, and choices of other groups, that the file of one choice sets."""
    path = find_file(group, name, user_dir)
    raw = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(raw, dict)
    entries: dict[str, Any] = {}
    for default in raw.pop("defaults", []):
        if isinstance(default, dict):
            entries |= {str(key).split("/")[-1]: value for key, value in default.items()}
    for key, value in raw.items():
        entries |= flatten_key(str(key), value)
    comments = key_comments(path)
    return [
        ChoiceKey(key, format_default(value), format_value(value), "", comments.get(key, ""))
        for key, value in entries.items()
    ]


def _describe(
    target: Callable[..., Any],
    raw: Mapping[Any, Any],
    resolved: Mapping[Any, Any],
    comments: Mapping[str, str],
    group: str,
    prefix: str,
) -> list[ChoiceKey]:
    """Return the keys of one class, and of the classes whose arguments it holds."""
    keys = []
    hints = types_of(target)
    for name, parameter in parameters_of(target).items():
        nested = nested_target(hints[name])
        if nested is not None and isinstance(raw.get(name), dict):
            keys += _describe(
                nested, raw[name], resolved[name], comments, group, f"{prefix}{name}."
            )
            continue
        # A key that YAML omits has its default in the signature.
        missing = "???" if parameter.default is inspect.Parameter.empty else parameter.default
        values = flatten_key(f"{prefix}{name}", raw.get(name, missing))
        values_for_env = flatten_key(f"{prefix}{name}", resolved.get(name, missing))
        if group == "env":  # its values do not depend on other groups
            values = values_for_env
        for key, value in values.items():
            keys.append(
                ChoiceKey(
                    name=key,
                    default=format_default(value),
                    for_env=format_value(values_for_env[key]),
                    allowed=describe_type(hints[name]) if key == f"{prefix}{name}" else "",
                    comment=comments.get(f"{group}.{key}", ""),
                )
            )
    return keys


def flatten_key(key: str, value: Any) -> dict[str, Any]:
    """Return {dotted key: value} with one entry for each value of a nested mapping."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    entries: dict[str, Any] = {}
    for name, nested in value.items():
        entries |= flatten_key(f"{key}.{name}", nested)
    return entries
