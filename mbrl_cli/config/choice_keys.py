"""Describe the keys of a choice or of the run: default, allowed values, comment, advice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mbrl_cli.config.argument_check import describe_type, nested_target, parameters_of, types_of
from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.groups import GROUPS, SIDE_GROUPS, config_dir, find_file
from mbrl_cli.config.recommended import USE, Recommendation, recommendations
from mbrl_cli.config.run_level_keys import run_level_keys
from mbrl_cli.config.targets import import_target
from mbrl_cli.config.yaml_comments import composed_comments, key_comments
from mbrl_cli.config.yaml_values import format_default, format_value
from mbrl_cli.run_settings import RunSettings

# Run-level keys that are no part of RunSettings.
OTHER_ALLOWED = {
    "device": "auto, cpu, cuda, cuda:1, ...",
    "threads": "auto or a whole number >= 1",
    "budget": "a time from 10s on, such as 90s, 30min or 1h30min; or null",
    "tags": "a list of words, such as [a,b]",
}


@dataclass(frozen=True)
class ChoiceKey:
    """One key of a choice, as text."""

    name: str  # without the group: horizon, sac.discount
    default: str  # with a star where an environment may recommend another value
    for_env: str  # the value in a run on the environment given by env=NAME
    allowed: str
    comment: str
    recommended: Sequence[Recommendation] = ()


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
    recommended = {
        key: [entry for entry in entries if group != "agent" or entry.agent in (None, name)]
        for key, entries in recommendations(user_dir).items()
    }
    return _describe(
        target=import_target(group, raw["_target_"]),
        raw=raw,
        resolved=resolved,
        comments=composed_comments(overrides, user_dir),
        recommended=recommended,
        group=group,
        prefix="",
    )


def run_keys(env: str | None = None, user_dir: Path | None = None) -> list[ChoiceKey]:
    """Return the keys of the run itself, those of `train.yaml`, in its order.

    Args:
        env: a choice of env whose recommended values fill `for_env`; None: the default one.
        user_dir: the folder of `--config-dir`.
    """
    overrides = [] if env is None else [f"env={env}"]
    config = compose_config(overrides, user_dir)
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    comments = key_comments(config_dir() / "train.yaml")
    recommended = recommendations(user_dir)
    hints = types_of(RunSettings)
    return [
        ChoiceKey(
            name=name,
            default=format_default(raw[name]),
            for_env=format_value(_plain(config[name])),
            allowed=describe_type(hints[name]) if name in hints else OTHER_ALLOWED.get(name, ""),
            comment=comments.get(name, ""),
            recommended=_for_key(raw[name], recommended),
        )
        for name in run_level_keys()
        if name not in (*GROUPS, *SIDE_GROUPS)
    ]


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
        ChoiceKey(key, format_default(value), format_value(value), "", _comment(comments, key))
        for key, value in entries.items()
    ]


def _describe(
    target: Callable[..., Any],
    raw: Mapping[Any, Any],
    resolved: Mapping[Any, Any],
    comments: Mapping[str, str],
    recommended: Mapping[str, Sequence[Recommendation]],
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
                nested, raw[name], resolved[name], comments, recommended, group, f"{prefix}{name}."
            )
            continue
        # A key that YAML omits has its default in the signature.
        missing = "???" if parameter.default is inspect.Parameter.empty else parameter.default
        values = flatten_key(f"{prefix}{name}", raw.get(name, missing))
        values_for_env = flatten_key(f"{prefix}{name}", resolved.get(name, missing))
        if group == "env":  # its values do not depend on other groups
            values = values_for_env
        for key, value in values.items():
            is_argument = key == f"{prefix}{name}"
            comment = comments.get(f"{group}.{key}", "")
            keys.append(
                ChoiceKey(
                    name=key,
                    default=format_default(value),
                    for_env=format_value(values_for_env[key]),
                    allowed=describe_type(hints[name]) if is_argument else "",
                    comment=comment if is_argument else _comment(comments, f"{group}.{key}"),
                    recommended=_for_key(value, recommended),
                )
            )
    return keys


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _comment(comments: Mapping[str, str], key: str) -> str:
    """Return the comment of a key; {a: 1, b: 2} in one line has one comment for both keys."""
    return comments.get(key) or comments.get(key.rpartition(".")[0], "")


def _for_key(
    raw: Any, recommended: Mapping[str, Sequence[Recommendation]]
) -> Sequence[Recommendation]:
    """Return the recommended values of a key whose unresolved value is `raw`."""
    used = USE.search(raw) if isinstance(raw, str) else None
    return recommended.get(used[1], ()) if used else ()


def flatten_key(key: str, value: Any) -> dict[str, Any]:
    """Return {dotted key: value} with one entry for each value of a nested mapping."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    entries: dict[str, Any] = {}
    for name, nested in value.items():
        entries |= flatten_key(f"{key}.{name}", nested)
    return entries
