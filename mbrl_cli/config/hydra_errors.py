"""Hydra's error messages in one line."""

from __future__ import annotations

from typing import Any

from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from yaml import YAMLError

from mbrl_cli.config.groups import GROUPS, choices, config_dir, unknown_choice
from mbrl_cli.errors import unknown_key

MAX_LENGTH = 300  # characters of a message that Hydra wrote


def explain_hydra_error(error: Exception) -> str | None:
    """Return one line about a user's mistake that Hydra found, None for any other error."""
    if isinstance(error, YAMLError):
        return _one_line(error)
    if isinstance(error, MissingConfigException):
        return _explain_choice(error)
    if not isinstance(error, HydraException):
        return None
    text = " ".join(str(part) for part in (error, error.__cause__) if part)
    key = _between(text, "Could not override '", "'") or _between(text, "Key '", "'")
    if key is None:
        return _one_line(text)[:MAX_LENGTH]
    key = key.lstrip("+~").split("@")[0]
    section, dot, _ = key.partition(".")
    if dot and section in GROUPS:
        return f"{key}: unknown key; to see the keys type: mbrl list {section} CHOICE"
    return unknown_key(key, section, run_level_keys())


def run_level_keys() -> list[str]:
    """Return the groups and the keys of `train.yaml`."""
    keys = OmegaConf.load(config_dir() / "train.yaml")
    return [*GROUPS, *(str(key) for key in keys if key not in ("defaults", "hydra"))]


def _explain_choice(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file or "").rpartition("/")
    if group not in GROUPS:
        return _one_line(error)[:MAX_LENGTH]
    allowed = [option for option in error.options or () if not option.startswith("_")]
    return unknown_choice(group, name, allowed or choices(group))


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _between(text: str, start: str, end: str) -> str | None:
    _, found, rest = text.partition(start)
    return rest.partition(end)[0] if found else None
