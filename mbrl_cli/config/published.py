"""Stated results of recipes: published/NAME.yaml is that of experiment/NAME.yaml in `configs/`.

They are files of their own, so that a run's config does not contain the result of other runs.
Nothing here imports torch, so that `mbrl list` is fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from mbrl_cli.config.groups import config_dirs
from mbrl_cli.errors import UserError, unknown_key

FOLDER = "published"
NUMBER = (int, float)
TYPES = {"steps": int, "seeds": list, "returns": list, "versions": dict} | dict.fromkeys(
    ("mean", "interval", "core_hours"), NUMBER
)  # all other keys are text


@dataclass(frozen=True)
class Published:
    """The result of a recipe, as its file states it."""

    steps: int  # environment steps of each run
    seeds: list[int]
    returns: list[float]  # mean return of each seed's final evaluation
    mean: float  # over the seeds
    interval: float  # half width of the 95 % t interval of the mean
    core_hours: float  # of all seeds together
    commit: str
    machine: str
    versions: dict[str, str]  # of the packages

    def text(self) -> str:
        """Return mean, interval, steps and seeds in one line."""
        return (
            f"{self.mean:.1f} ± {self.interval:.1f}, {self.steps:,} steps, "
            f"seeds {seeds_text(self.seeds)}"
        )


def read_published(name: str, user_dir: Path | None = None) -> Published | None:
    """Return the stated result of a recipe; None if it states none.

    Args:
        name: a choice of experiment.
        user_dir: the folder of `--config-dir`.

    Raises:
        UserError: if the file is not readable, or a key is missing, unknown or of another type.
    """
    paths = [folder / FOLDER / f"{name}.yaml" for folder in config_dirs(user_dir)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not readable YAML") from error
    keys = [field.name for field in fields(Published)]
    if not isinstance(content, dict):
        raise UserError(f"{path}: must have the keys {', '.join(keys)}")
    for key in content:
        if key not in keys:
            raise UserError(f"{path}: {unknown_key(str(key), str(key), keys)}")
    for key in keys:
        if not isinstance(content.get(key), TYPES.get(key, str)):
            raise UserError(f"{path}: {key}={content.get(key, '')}: missing, or of another type")
    published = Published(**content)
    numbers = (*published.seeds, *published.returns)
    if not all(isinstance(number, NUMBER) for number in numbers):
        raise UserError(f"{path}: seeds and returns must be lists of numbers")
    if len(published.returns) != len(published.seeds) or len(published.seeds) < 2:
        raise UserError(f"{path}: needs two or more seeds, and one of returns for each")
    return published


def seeds_text(seeds: Sequence[int]) -> str:
    """Return 10-14 for consecutive seeds, else a list."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))
