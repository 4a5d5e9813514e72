"""Hydra's sweeper of all combinations, for sweeps that can be continued."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.launcher_errors import explain_launcher_error
from mbrl_cli.config.sweep_end import SweepEnd
from mbrl_cli.config.sweep_jobs import is_basic
from mbrl_cli.config.sweep_record import read_sweep, resume_command
from mbrl_cli.config.sweep_stop import JOBLIB, JobsUntilStop, stop_after_workers
from mbrl_cli.errors import UserError
from mbrl_cli.signals import stop_on_signals

HYDRA_RECORD = "multirun.yaml"
LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher",
    "hydra_plugins.hydra_joblib_launcher._core",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher",
    "hydra_plugins.hydra_ray_launcher._core",
    "hydra_plugins.hydra_ray_launcher._launcher_util",
)


class ResumableSweeper(Sweeper):
    """Run all combinations of values, except the jobs that have finished.

    It replaces Hydra's `BasicSweeper`, which composes every job before the first one starts, and
    raises the error of the first failed job. The jobs were checked before, see `before_run`.

    Args:
        max_batch_size: the largest number of jobs that the launcher gets at once; None: all.

    Attributes:
        end: the end of the latest sweep of this process; Hydra does not return it.
    """

    end: SweepEnd | None = None

    def __init__(self, max_batch_size: int | None = None) -> None:
        self._max_batch_size = max_batch_size
        self._config: DictConfig | None = None
        self._launcher: Launcher | None = None

    @classmethod
    def install(cls) -> None:
        """Use this class in the place of Hydra's."""
        Plugins.instantiate_sweeper = _instantiate_sweeper  # type: ignore[method-assign,assignment]
        cls.end = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Prepare the launcher."""
        self._config = config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[list[JobReturn]]:
        """Run the jobs; after a stop signal print the command that continues the sweep."""
        assert self._config is not None
        folder = Path(self._config.hydra.sweep.dir)
        ResumableSweeper.end = SweepEnd(folder)
        OmegaConf.save(self._config, folder / HYDRA_RECORD)  # as Hydra's sweeper does
        for name in LAUNCHERS:  # they print the words of every job
            logging.getLogger(name).setLevel(logging.WARNING)
        record = read_sweep(folder)
        recorded = [] if record is None else record.jobs
        jobs = [job.overrides for job in recorded if job.saved_step is not None]
        size = self._max_batch_size or max(1, len(jobs))
        returns = []
        with _command_after_stop(folder):
            for first in range(0, len(jobs), size):
                results = self._launch(jobs[first : first + size], first)
                ResumableSweeper.end.add(results)
                returns.append(results)
        return returns

    def _launch(self, jobs: list[list[str]], first: int) -> list[JobReturn]:
        assert self._config is not None
        assert self._launcher is not None
        stop: AbstractContextManager[None] = stop_on_signals()
        if str(self._config.hydra.launcher._target_).endswith(JOBLIB):
            stop = stop_after_workers()
        try:
            with stop:
                return list(self._launcher.launch(JobsUntilStop(jobs), initial_job_idx=first))
        except Exception as error:
            if isinstance(error, BrokenProcessPool):
                text = (
                    "a worker process was killed, which ends the others, too; the system does this "
                    "where memory is short;"
                )
            elif (explained := explain_launcher_error(error)) is not None:
                text = f"{explained};"
            else:
                raise
            again = resume_command(Path(self._config.hydra.sweep.dir))
            raise UserError(f"{text} to continue type: {again}") from error


_hydras_sweeper = Plugins.instantiate_sweeper


def _instantiate_sweeper(
    plugins: Plugins,
    *,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
) -> Sweeper:
    """Return our sweeper for all combinations of values, and Hydra's for every other choice."""
    if not is_basic(config):
        return _hydras_sweeper(
            plugins, hydra_context=hydra_context, task_function=task_function, config=config
        )
    sweeper = ResumableSweeper(config.hydra.sweeper.get("max_batch_size"))
    sweeper.setup(hydra_context=hydra_context, task_function=task_function, config=config)
    return sweeper


@contextmanager
def _command_after_stop(folder: Path) -> Iterator[None]:
    """Print how to continue the sweep if a stop signal ends the block."""
    try:
        yield
    except KeyboardInterrupt:  # a StopRequested, or what Ray raises for Ctrl-C
        print(f"mbrl: to continue the sweep type: {resume_command(folder)}", file=sys.stderr)
        raise
