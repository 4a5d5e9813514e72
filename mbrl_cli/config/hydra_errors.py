"""Hydra's error messages in one line."""

from __future__ import annotations

from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from yaml import YAMLError

from mbrl_cli.config.groups import GROUPS, choices, unknown_choice
from mbrl_cli.config.run_level_keys import keys_in_groups, run_level_keys
from mbrl_cli.errors import install_extra, unknown_key

# Sweepers and launchers -> the packages that add them to Hydra.
PLUGINS = {
    "sweeper/optuna": "hydra-optuna-sweeper", "sweeper/ax": "hydra-ax-sweeper",
    "sweeper/nevergrad": "hydra-nevergrad-sweeper",
    "launcher/rq": "hydra-rq-launcher", "launcher/ray_aws": "-r requirements-ray.txt",
}  # fmt: skip
# Launchers with an extra of mbrl. The YAML of hydra/launcher=slurm includes submitit_slurm.
EXTRAS = {
    "launcher/joblib": "joblib", "launcher/submitit_slurm": "slurm",
    "launcher/submitit_local": "slurm",
}  # fmt: skip

MAX_LENGTH = 300  # characters of a message that Hydra wrote


def explain_hydra_error(error: Exception) -> str | None:
    """Return one line about a user's mistake that Hydra found, None for any other error."""
    if isinstance(error, YAMLError):
        return _one_line(error)
    if isinstance(error, MissingConfigException):
        return _explain_choice(error)
    if isinstance(error, OverrideParseException):
        word = _one_line(error.override).removeprefix("++")
        reason = _one_line(error).partition(" See https://")[0]
        return f"{word}: cannot be read ({reason}); type key=value"
    if isinstance(error, HydraException):
        return _explain_text(_one_line(" ".join(str(e) for e in (error, error.__cause__) if e)))
    return None


def _explain_text(text: str) -> str:
    """Return our own text for those messages of Hydra that a user is likely to see."""
    several = _between(text, "Ambiguous value for argument '", "' 1.")
    if several is not None:
        key, _, values = several.lstrip("+").partition("=")
        return (
            f"{key}={values}: several values; for one run with each of them add -m, for a list "
            f"type {key}=[{values}]"
        )
    deleted = _between(text, "Could not delete from config. '", "'")
    if deleted is not None:
        return f"~{deleted}: does not exist, so it cannot be deleted"
    for start in ("Could not override '", "Key '"):
        key_in_text = _between(text, start, "'")
        if key_in_text is not None:
            return _explain_key(key_in_text.lstrip("+~").split("@")[0])
    return text[:MAX_LENGTH]


def _explain_key(key: str) -> str:
    if not key:
        return "=: must have the form key=value"
    section, dot, _ = key.partition(".")
    if section == "hydra":
        return f"{key}: unknown key of Hydra; to see its keys type: mbrl train --cfg hydra"
    if dot and section in GROUPS:
        return f"{key}: unknown key; to see the keys type: mbrl list {section} CHOICE"
    if dot and section == "logger":
        name = key.split(".")[1]
        return (
            f"{key}: unknown key; it needs logger={name} or logger=[tensorboard,{name}] before it"
        )
    in_groups = keys_in_groups(key)
    if in_groups:
        return f"{key}: unknown key; did you mean {', '.join(in_groups)}?"
    return unknown_key(key, section, run_level_keys())


def _explain_choice(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file or "").rpartition("/")
    if not group:
        return _one_line(error)[:MAX_LENGTH]
    allowed = [option for option in error.options or () if not option.startswith("_")]
    plugin = f"{group.removeprefix('hydra/')}/{name}"
    if plugin in EXTRAS:
        typed = "slurm" if name == "submitit_slurm" else name
        return f"{group}={typed}: is not installed; {install_extra(EXTRAS[plugin])}"
    if plugin in PLUGINS:
        return f"{group}={name}: is not installed; type: pip install {PLUGINS[plugin]}"
    return unknown_choice(group, name, allowed or choices(group))


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _between(text: str, start: str, end: str) -> str | None:
    _, found, rest = text.partition(start)
    return rest.partition(end)[0] if found else None
