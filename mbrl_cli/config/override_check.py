"""Check words of `mbrl train` whose mistakes Hydra does not report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.groups import GROUPS, choices, unknown_choice
from mbrl_cli.config.targets import import_target
from mbrl_cli.errors import UserError


def check_choices(overrides: Sequence[str], user_dir: Path | None) -> None:
    """Raise UserError for a choice that is null, a list or a mapping, such as planner=[cem]."""
    for override in overrides:
        group, _, name = override.partition("=")
        if group in GROUPS and name.startswith("[") and name.endswith("]"):
            names = ",".join(part.strip() for part in name[1:-1].split(","))
            raise UserError(
                f"{override}: a run has one {group}; for one run with each type: "
                f"mbrl train -m {group}={names}"
            )
        if group in GROUPS and (name == "null" or name.startswith(("[", "{"))):
            raise UserError(unknown_choice(group, name, choices(group, user_dir)))


def check_group_keys(overrides: Sequence[str], user_dir: Path | None) -> None:
    """Raise UserError for `planner.key=...` if neither the YAML nor the class has the key.

    For `mbrl train --cfg`, which prints a config without building it.

    Args:
        overrides: all `key=value` words of the command line.
        user_dir: the folder of `--config-dir`.
    """
    keys = [override.partition("=")[0].lstrip("+") for override in overrides]
    in_group = [key for key in keys if "." in key and key.partition(".")[0] in GROUPS]
    if not in_group:
        return
    chosen = [
        override
        for override, key in zip(overrides, keys, strict=True)
        if key in (*GROUPS, "experiment")
    ]
    config = compose_config(chosen, user_dir)
    for full_key in in_group:
        group, _, key = full_key.partition(".")
        if full_key.startswith(("env.kwargs.", "env.recommended.")):
            continue  # only the environment knows these
        section, _, name = full_key.rpartition(".")
        node = OmegaConf.select(config, section)
        if OmegaConf.is_dict(node) and name in node:
            continue
        target = OmegaConf.select(config, f"{group}._target_")
        if target is None:
            raise UserError(
                f"{full_key}: unknown key, because no {group} is in use; add {group}=NAME"
            )
        # Checking the signature imports torch, so it is done only for keys that are not in YAML.
        from mbrl_cli.config.argument_check import check_key

        check_key(group, import_target(group, target), key)
