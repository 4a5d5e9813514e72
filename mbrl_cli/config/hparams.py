"""The settings by which runs are compared: choices by name, then the keys that differ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mbrl_cli.config.choice_record import HYDRA_FILE, choice_names
from mbrl_cli.config.config_changes import flatten
from mbrl_cli.config.groups import SIDE_GROUPS
from mbrl_cli.errors import UserError
from mbrl_cli.run_files import read_regular

OVERRIDES_FILE = HYDRA_FILE.with_name("overrides.yaml")
MAX_BYTES = 2**16
NOT_COMPARED = ("console", "experiment")  # an experiment's keys are in the config
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C ten times faster
_SWEPT = re.compile(r"^\s+subdir: \$\{job_name:([^}]+)\}", re.MULTILINE)


def run_hparams(folder: Path, config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings by which runs are compared, and the keys that differ within a sweep.

    The settings are env, model, planner and agent by name, the keys that have several values in the
    sweep or, in a single run, that the command line gives, and the seed.

    Args:
        folder: the run folder, in which Hydra recorded the command line.
        config: the config of the run.
    """
    swept = _SWEPT.search(_text(folder / HYDRA_FILE))
    differing = swept[1].split(",") if swept is not None else []
    hparams: dict[str, Any] = dict(choice_names(folder, config))
    flat = flatten(config)
    for key in (*(differing or _given_keys(folder)), "seed"):
        section = key.partition(".")[0]
        if key not in hparams and section not in (*NOT_COMPARED, *SIDE_GROUPS):
            hparams |= {k: v for k, v in flat.items() if k == key or k.startswith(f"{key}.")}
    return hparams, differing


def readable_config(config: dict[str, Any]) -> str:
    """Return the config as YAML, without the values that the environment recommends."""
    env = {key: value for key, value in config["env"].items() if key != "recommended"}
    settings = {**config, "env": env}
    # Leaves such as [64, 64] in one line.
    return str(
        yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, default_flow_style=None)
    )


def typed_words(folder: Path) -> list[str]:
    """Return the words of the command line that started the run; none if there is no record."""
    try:
        words = yaml.load(_text(folder / OVERRIDES_FILE), Loader=_Loader)
    except yaml.YAMLError:
        return []
    return [str(word) for word in words] if isinstance(words, list) else []


def _given_keys(folder: Path) -> list[str]:
    """Return the keys that the command line gives."""
    return [word.lstrip("+~").partition("=")[0] for word in typed_words(folder)]


def _text(path: Path) -> str:
    """Return the text of a file that Hydra wrote, empty if it cannot be read."""
    try:
        return read_regular(path, MAX_BYTES).decode()
    except (OSError, UserError, UnicodeDecodeError):
        return ""
