"""The config of a run folder, read back.

The folder may be a stranger's. Its config is data: without `--trust` it can only name classes that
mbrl's own YAML files name, and no code of other packages is imported on its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mbrl_cli.config.app import import_from_here, register_resolvers
from mbrl_cli.config.changes import flat
from mbrl_cli.config.groups import GROUPS, config_dir
from mbrl_cli.errors import UserError

CONFIG = "config.yaml"
TRUST = "--trust"


def run_folder(argv: Sequence[str], usage: str) -> tuple[Path, list[str], bool]:
    """Return the run folder, the overrides and whether the folder is trusted."""
    words = [word for word in argv if word != TRUST]
    if not words or words[0].startswith("-"):
        raise UserError(usage)
    if TRUST in argv:
        import_from_here()
    return Path(words[0]), words[1:], TRUST in argv


def saved_config(folder: Path, trust: bool) -> DictConfig:
    """Return the config of a run folder; UserError where there is none, or it is not trusted."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder}: is no run folder (it has no {CONFIG})")
    register_resolvers()
    try:
        config = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: is no YAML that can be read") from error
    if not isinstance(config, DictConfig) or any(group not in config for group in GROUPS):
        raise UserError(f"{path}: is no config of a run")
    if not trust:
        _refuse_foreign(config, path)
    # Keys that are younger than the run.
    for key, value in OmegaConf.load(config_dir() / "train.yaml").items():
        if key not in config and key not in ("defaults", "hydra"):
            config[key] = value
    return config


def _refuse_foreign(config: DictConfig, path: Path) -> None:
    """Refuse what would import code, or read this machine's variables, on the folder's word."""
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    remedy = f"{TRUST} allows it, if you know where the folder comes from"
    for key, value in flat(raw).items():
        group = key.partition(".")[0]
        if "${" in f"{key}{value}":
            raise UserError(f"{path}: {key}={value} is no plain value; {remedy}")
        if key.endswith("_target_"):
            known = key == f"{group}._target_" and group in GROUPS and value in _targets(group)
            if not known:
                raise UserError(f"{path}: {key}={value} is none of mbrl's own; {remedy}")
        elif key in ("env.id", "env.reward", "env.termination", "env.simulator") and ":" in str(
            value
        ):
            raise UserError(f"{path}: {key}={value} imports other code; {remedy}")


def _targets(group: str) -> set[Any]:
    """Return every `_target_` that our own YAML files give this group, shared blocks included."""
    files = [OmegaConf.load(path) for path in (config_dir() / group).glob("*.yaml")]
    keys = ("_target_", f"{group}._target_")
    return {OmegaConf.select(file, key) for file in files for key in keys}
