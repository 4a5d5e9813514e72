"""The jobs of a sweep before they start: their words, their folders, and how far they are."""

from __future__ import annotations

import re
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.command_words import key_of
from mbrl_cli.config.job_name import job_name
from mbrl_cli.config.saved_config import CONFIG
from mbrl_cli.config.sweep_record import RecordedJob, SweepRecord
from mbrl_cli.lock import is_locked
from mbrl_cli.run_files import CHECKPOINTS

_JOB_NAME = re.compile(r"\$\{job_name:([^}]*)\}")
# Words that belong to one start of a sweep, not to the sweep.
OWN_WORDS = ("hydra.sweep.dir", "hydra.mode")


def plan_sweep(config: DictConfig) -> tuple[SweepRecord, str]:
    """Return the record of the sweep that starts now, and one line about its state.

    Args:
        config: the config of the sweep, with Hydra's part.
    """
    folder = Path(config.hydra.sweep.dir)
    jobs: list[RecordedJob] = []
    counts = {"finished": 0, "running in another process": 0, "interrupted": 0, "to start": 0}
    for overrides in _all_overrides(config):
        job = RecordedJob(overrides, _name(config, overrides))
        state, saved_step = _state(job, folder)
        counts[state] += 1
        jobs.append(RecordedJob(overrides, job.name, saved_step))
    record = SweepRecord(_words(config), _config_dir(config), jobs)
    shown = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    number = "1 run" if len(jobs) == 1 else f"{len(jobs):,} runs"
    return record, f"sweep     {folder}" + (f": {number}: {shown}" if jobs else "")


def is_basic(config: DictConfig) -> bool:
    """Return whether the jobs are all combinations of the given values."""
    return str(config.hydra.sweeper._target_).endswith("basic_sweeper.BasicSweeper")


def _all_overrides(config: DictConfig) -> list[list[str]]:
    """Return the words of each job, as Hydra's sweeper makes them."""
    if not is_basic(config):
        return []
    params = config.hydra.sweeper.get("params") or {}
    words = [f"{key}={value}" for key, value in params.items()]
    parsed = OverridesParser.create().parse_overrides([*words, *_raw_overrides(config)["task"]])
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def _name(config: DictConfig, overrides: list[str]) -> str | None:
    """Return the name of a job's folder; None if a `hydra.sweep.subdir` of the user decides it."""
    sweep = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(sweep, dict)
    template = _JOB_NAME.fullmatch(str(sweep["subdir"]))
    if template is None:
        return None
    keys = template[1].split(",") if template[1] else list(config.hydra.sweeper.get("params") or {})
    return job_name(overrides, [key for key in keys if key])


def _state(job: RecordedJob, folder: Path) -> tuple[str, int | None]:
    """Return the state of a job, and the step from which it would continue; None: it is not run."""
    if job.has_finished(folder):
        return "finished", None
    run = folder / (job.name or "")
    if job.name is None or not (run / CONFIG).exists():
        return "to start", 0
    if is_locked(run):
        return "running in another process", None
    numbers = [path.stem for path in (run / CHECKPOINTS).glob("*.safetensors")]
    return "interrupted", max((int(number) for number in numbers if number.isdecimal()), default=0)


def _words(config: DictConfig) -> list[str]:
    """Return the words with which the sweep can be started again in any folder."""
    given = _raw_overrides(config)
    words = [*given["hydra"], *given["task"]]
    return [word for word in words if key_of(word) not in OWN_WORDS and not _is_derived(word)]


def _raw_overrides(config: DictConfig) -> dict[str, list[str]]:
    """Return the words for Hydra ("hydra") and the others ("task"); no `${...}` is resolved."""
    given = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    assert isinstance(given, dict)
    return {str(key): [str(word) for word in words] for key, words in given.items()}


def _is_derived(word: str) -> bool:
    """Return whether `mbrl train` itself adds this word."""
    return key_of(word) == "hydra.sweep.subdir" and _JOB_NAME.search(word) is not None


def _config_dir(config: DictConfig) -> str | None:
    """Return the folder of `--config-dir`."""
    for source in config.hydra.runtime.config_sources:
        if source.provider == "command-line" and source.schema == "file":
            return str(Path(source.path).absolute())
    return None
