"""Read the config of a run folder, and refuse code that the user did not name.

The folder may come from another person, so its config is data. Without `--trust` a `_target_` must
be one that mbrl's own YAML files name, or those in the folder of `--config-dir`; the same holds for
environments and functions of other packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mbrl_cli.config.config_changes import flatten
from mbrl_cli.config.groups import GROUPS, config_dir, config_dirs
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.errors import UserError

CONFIG = "config.yaml"
# Their values import code where they have the form package:name.
IMPORTING_KEYS = ("env.id", "env.reward", "env.termination", "env.simulator")


def load_saved_config(
    folder: Path, trust: bool = False, user_dir: Path | None = None
) -> DictConfig:
    """Return the config of a run folder, with the defaults of keys that are newer than the run.

    Args:
        folder: a run folder.
        trust: whether its config may name any code.
        user_dir: the folder of `--config-dir`; its YAML files name code that is allowed.

    Raises:
        UserError: if the folder has no readable config, or if the config names other code.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder}: is not a run folder (it has no {CONFIG})")
    register_resolvers()
    config = _load(path)
    if not isinstance(config, DictConfig) or any(group not in config for group in GROUPS):
        raise UserError(f"{path}: is not the config of a run")
    if not trust:
        _refuse_foreign_code(config, path, user_dir)
    for key, value in OmegaConf.load(config_dir() / "train.yaml").items():
        if key not in config and key not in ("defaults", "hydra"):
            config[key] = value
    return config


def _refuse_foreign_code(config: DictConfig, path: Path, user_dir: Path | None) -> None:
    """Raise UserError for a value that would import other code or read environment variables."""
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    trust = "add --trust if you know where the folder comes from"
    remedy = f"add --config-dir DIR if a YAML file in DIR names it, or {trust}"
    for key, value in flatten(raw, skip=()).items():
        group, _, name = key.partition(".")
        if "${" in f"{key}{value}":
            raise UserError(f"{path}: {key}={value} is not a plain value; {trust}")
        if key.endswith("_target_"):
            is_class = name == "_target_" and group in GROUPS
            if not is_class or value not in _named_values(key, user_dir):
                raise UserError(f"{path}: {key}={value} is not one of mbrl's classes; {remedy}")
        if key == "env.wrappers" and value and value not in _given_wrappers(user_dir):
            raise UserError(f"{path}: {key}={value} imports other code; {remedy}")
        imports = key in IMPORTING_KEYS and ":" in str(value)
        if imports and value not in _named_values(key, user_dir):
            raise UserError(f"{path}: {key}={value} imports other code; {remedy}")


def _named_values(key: str, user_dir: Path | None) -> set[Any]:
    """Return the values that the YAML files of mbrl and of the user give to a key of a group."""
    group, _, name = key.partition(".")
    values = set()
    for folder in config_dirs(user_dir):
        for path in [*(folder / group).glob("*.yaml"), *(folder / "experiment").glob("*.yaml")]:
            content = _load(path)
            if isinstance(content, DictConfig):
                raw = OmegaConf.to_container(content, resolve=False)
                assert isinstance(raw, dict)
                settings = flatten(raw)
                values |= {settings.get(name, ""), settings.get(key, "")}
    return values


def _given_wrappers(user_dir: Path | None) -> list[Any]:
    """Return the lists of wrappers that the YAML files of mbrl and of the user name."""
    lists = []
    for folder in config_dirs(user_dir):
        for path in [*(folder / "env").glob("*.yaml"), *(folder / "experiment").glob("*.yaml")]:
            content = _load(path)
            if isinstance(content, DictConfig):
                raw = OmegaConf.to_container(content, resolve=False)
                assert isinstance(raw, dict)
                settings = flatten(raw)
                lists += [settings.get("wrappers"), settings.get("env.wrappers")]
    return lists


def _load(path: Path) -> DictConfig | ListConfig:
    try:
        return OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: is not readable YAML") from error
