"""Apply `key=value` words of the command line to the config of a saved run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mbrl_cli.config.command_words import quote_path
from mbrl_cli.config.composition import compose_config, hydra_errors_as_user_errors
from mbrl_cli.config.groups import GROUPS, SIDE_GROUPS, choices, unknown_choice
from mbrl_cli.errors import UserError, unknown_key

KEPT_GROUPS = ("env", "model", "agent")  # what was learned does not fit another choice of these


def apply_overrides(
    config: DictConfig, overrides: Sequence[str], user_dir: Path | None = None
) -> dict[str, str]:
    """Change the resolved config of a run as the command line says; return the new choices.

    The choices are names by group, {"planner": "icem"} for `planner=icem`.

    Keys inside a group are not checked here: `build` compares them with the class in use, which may
    have keys that are newer than the run.

    Args:
        config: the config of a saved run, which is changed in place.
        overrides: `key=value`, or `planner=NAME` for another planner.
        user_dir: the folder of `--config-dir`, whose planners can be chosen too.

    Raises:
        UserError: if an override is malformed, unknown, or not possible for a saved run.
    """
    with hydra_errors_as_user_errors():
        parsed = OverridesParser.create().parse_overrides([quote_path(o) for o in overrides])
    new_choices: dict[str, str] = {}
    # A choice replaces the whole group, so it goes before single keys.
    for override in sorted(parsed, key=lambda o: o.key_or_group not in GROUPS):
        key, value, word = override.key_or_group, override.value(), override.input_line
        if override.is_delete() or override.is_sweep_override():
            raise UserError(f"{word}: a saved run needs one value for each key; use {key}=VALUE")
        if key in KEPT_GROUPS:
            raise UserError(
                f"{key}={value}: a saved run keeps its {key}; only planner=NAME can change"
            )
        if key.partition(".")[0] in SIDE_GROUPS:
            raise UserError(f"{key}={value}: a saved run keeps its {key.partition('.')[0]}")
        if key == "planner":
            config.planner = _compose_planner(config, value, user_dir)
            new_choices[key] = str(value)
            continue
        group, dot, _ = key.partition(".")
        is_group_key = bool(dot) and group in GROUPS
        if not is_group_key and key not in config:
            raise UserError(unknown_key(key, group, [str(name) for name in config]))
        try:
            OmegaConf.update(config, key, value, merge=False, force_add=is_group_key)
        except ValueError as error:  # a name where a list has a number
            section = key.rpartition(".")[0]
            raise UserError(f"{word}: {section} is a list; use {section}=[...]") from error
        except OmegaConfBaseException as error:
            raise UserError(f"{key}={value}: {str(error).splitlines()[0]}") from error
    return new_choices


def _compose_planner(config: DictConfig, name: Any, user_dir: Path | None) -> Any:
    """Compose the YAML of a planner with the values that the run's environment recommends."""
    allowed = choices("planner", user_dir)
    if not isinstance(name, str) or name not in allowed:
        own = "" if user_dir else "; one of your own needs --config-dir (config_dir= in Python)"
        raise UserError(unknown_choice("planner", str(name), allowed) + own)
    composed = compose_config([f"planner={name}"], user_dir)
    composed.env = config.env
    composed.agent_name = config.get("agent_name")  # it selects a section of env.recommended
    return OmegaConf.create(OmegaConf.to_container(composed.planner, resolve=True))
