"""A saved run, finished or not: its settings, its state and what it logged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mbrl_cli.api.metrics_file import last_step_and_return, read_metrics
from mbrl_cli.config.choice_record import choice_names
from mbrl_cli.config.run_config import read_run_config
from mbrl_cli.lock import is_locked
from mbrl_cli.run_files import FAULT_FILE, FINAL_FILE

if TYPE_CHECKING:
    from mbrl_cli.api.metrics_file import Series

State = Literal["running", "finished", "interrupted", "failed"]


class Run:
    """A run folder. Nothing is written into it.

    `config` and `choices` are read once. `state`, `steps`, `progress` and the returns are read from
    the folder each time, so they follow a run that is training.

    Attributes:
        folder: the run folder.
        trust: whether the folder's config may import any code that it names.
        config_dir: a folder of YAML files of yours, whose code the run's config may name.
    """

    def __init__(self, folder: Path, trust: bool = False, config_dir: Path | None = None) -> None:
        """Read the config; raise `UserError` if the folder holds no run or its config is damaged.

        Args:
            folder: the run folder.
            trust: as `--trust` of `mbrl eval`.
            config_dir: as `--config-dir` of `mbrl eval`.
        """
        self.folder = folder
        self.trust = trust
        self.config_dir = config_dir
        self._config = read_run_config(folder, trust)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run as nested dicts, for example `config["planner"]["horizon"]`."""
        return self._config

    @cached_property
    def choices(self) -> dict[str, str]:
        """The choices of env, model, planner and agent: `{"env": "cartpole", ...}`.

        A choice that is not recorded is given by the name of its class.
        """
        return choice_names(self.folder, self._config)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.absolute().name

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self._config["seed"])

    @property
    def total_steps(self) -> int:
        """Environment steps that the run takes in all."""
        return int(self._config["total_steps"])

    @property
    def steps(self) -> int:
        """Environment steps up to the newest row of metrics.csv."""
        return last_step_and_return(self.folder)[0]

    @property
    def progress(self) -> float:
        """Fraction of `total_steps` that the run has taken, 0 to 1."""
        return min(1.0, self.steps / self.total_steps) if self.total_steps else 1.0

    @property
    def state(self) -> State:
        """Whether the run is running, finished, interrupted, or failed.

        "running": a process holds the folder's lock. "finished": the final evaluation of
        `total_steps` is saved. "failed": an error ended the run, and its trace is in fault.txt.
        """
        if is_locked(self.folder):
            return "running"
        if (self.folder / FINAL_FILE).is_file() and self.steps >= self.total_steps:
            return "finished"
        return "failed" if (self.folder / FAULT_FILE).is_file() else "interrupted"

    @property
    def last_return(self) -> float | None:
        """Mean return of the newest evaluation; None if there was none."""
        return last_step_and_return(self.folder)[1]

    @property
    def final_return(self) -> float | None:
        """Mean return of the final evaluation; None if the run has not finished."""
        return self.last_return if self.state == "finished" else None

    def metrics(self, tags: Sequence[str] | None = None) -> dict[str, Series]:
        """Return what the run logged: tag -> {"env_step": int64 [n], "value": float64 [n]}.

        Args:
            tags: the tags to read, which is faster than reading all; None: all. A tag that the run
                has not logged is left out.

        Raises:
            UserError: if metrics.csv is damaged.
        """
        return read_metrics(self.folder, tags)
