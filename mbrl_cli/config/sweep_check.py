"""Find mistakes of a sweep's words before its first job, without building every job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.argument_check import check_value
from mbrl_cli.config.budget_text import BUDGET, refuse_budget
from mbrl_cli.config.check_run import check_run
from mbrl_cli.config.command_words import key_of
from mbrl_cli.config.composition import hydra_errors_as_user_errors
from mbrl_cli.config.config_changes import find_changes, refuse_fixed_keys, refuse_other_job
from mbrl_cli.config.debug_settings import apply_limits
from mbrl_cli.config.groups import GROUPS, LISTED
from mbrl_cli.config.saved_config import CONFIG, load_saved_config
from mbrl_cli.config.sweep_record import RecordedJob
from mbrl_cli.types import CountOrZero

# Jobs that are built for their values; building one takes 0.15 s of one core.
MAX_BUILT = 24


def check_jobs(jobs: Sequence[RecordedJob], sweep: Path, folders: list[Path]) -> None:
    """Check all seeds, each combination of choices, and the other values; raise UserError.

    A job that has a value which no earlier job with the same choices has is built. If more than
    `MAX_BUILT` have one, these are evenly spaced, with the first and the last one. So a combination
    of values that is wrong, where each value alone is right, is found when its job starts.

    Args:
        jobs: those that are going to run.
        sweep: the folder of the sweep.
        folders: the folders of YAML files.
    """
    _check_seeds(jobs)
    rehearsed: set[tuple[str, ...]] = set()
    for job in jobs_to_build(jobs):
        config = _compose_job(job.overrides)
        refuse_budget(config.get(BUDGET), "the jobs of a sweep")
        classes = (str(config.env.get("id")), *(str(config[g].get("_target_")) for g in GROUPS))
        check_run(config, folders, classes not in rehearsed)
        rehearsed.add(classes)
        if job.name is not None and (sweep / job.name / CONFIG).exists():
            refuse_other_words(sweep / job.name, config)


def jobs_to_build(jobs: Sequence[RecordedJob], limit: int = MAX_BUILT) -> list[RecordedJob]:
    """Return the first job of each combination of choices, and up to `limit` with new values."""
    seen: set[tuple[tuple[str, ...], str]] = set()
    chosen: set[tuple[str, ...]] = set()
    first, new = [], []
    for job in jobs:
        choices = tuple(word for word in job.overrides if key_of(word) in LISTED)
        words = {(choices, word) for word in job.overrides if key_of(word) != "seed"}
        if choices not in chosen:
            first.append(job)
        elif words - seen:
            new.append(job)
        chosen.add(choices)
        seen |= words
    if len(new) > limit:
        new = [new[round(i * (len(new) - 1) / (limit - 1))] for i in range(limit)]
    return [job for job in jobs if job in first or job in new]


def refuse_other_words(folder: Path, config: DictConfig) -> None:
    """Raise UserError if a run cannot be continued with the settings of the job."""
    before, now = (
        OmegaConf.to_container(c, resolve=True) for c in (load_saved_config(folder, True), config)
    )
    assert isinstance(before, dict)
    assert isinstance(now, dict)
    changes = find_changes(before, now)
    refuse_fixed_keys(changes, folder)
    refuse_other_job(changes, folder)


def _check_seeds(jobs: Sequence[RecordedJob]) -> None:
    words = dict.fromkeys(word for job in jobs for word in job.overrides if key_of(word) == "seed")
    for word in words:
        text = word.partition("=")[2]
        if "$" not in text:
            check_value("seed", yaml.safe_load(text), CountOrZero)


def _compose_job(overrides: list[str]) -> DictConfig:
    with hydra_errors_as_user_errors():
        job = compose("train", overrides=overrides)
    apply_limits(job, overrides)
    return job
