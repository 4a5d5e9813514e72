"""Hydra callback: check a run, or the jobs of a sweep, before Hydra makes its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mbrl_cli.config.debug_settings import apply_limits
from mbrl_cli.config.disk_faults import disk_faults
from mbrl_cli.config.error_exit import exit_on_user_error
from mbrl_cli.config.groups import config_dir
from mbrl_cli.config.launcher_check import check_launcher
from mbrl_cli.config.output_folder import check_output_folder
from mbrl_cli.config.sweep_jobs import plan_sweep
from mbrl_cli.console.waiting import waiting
from mbrl_cli.errors import printable


class CheckBeforeRun(Callback):
    """Build what runs once and exit on a mistake.

    It exits the process because Hydra turns exceptions of callbacks into warnings.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run."""
        HydraConfig.instance().set_config(config)  # `launch` names its folder if the disk is full
        with exit_on_user_error(), waiting("checking the run"):
            # This imports torch, which takes seconds: `waiting` is on the terminal by then.
            from mbrl_cli.config.check_run import check_run

            apply_limits(config, config.hydra.overrides.task)
            check_run(config, _folders(config))
            check_output_folder(Path(config.hydra.run.dir))
        with exit_on_user_error():
            from mbrl_cli.config.budget import apply_budget

            with waiting("measuring what fits into the budget"):
                lines = apply_budget(config, config.hydra.overrides.task)
            for line in lines:
                print(printable(line), flush=True)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the jobs of a sweep that have not finished, and record the sweep in its folder.

        A sweeper that chooses values itself is not known here; its jobs are checked as they start.
        """
        HydraConfig.instance().set_config(config)
        folder = Path(config.hydra.sweep.dir)
        with exit_on_user_error():
            check_launcher(config.hydra.launcher._target_)
            check_output_folder(folder)
            record, state = plan_sweep(config)
            print(printable(state), flush=True)
            jobs = [job for job in record.jobs if job.saved_step is not None]
            with waiting("checking the jobs of the sweep"):
                if jobs:
                    from mbrl_cli.config.sweep_check import check_jobs

                    check_jobs(jobs, folder, _folders(config))
            with disk_faults(folder, "then type the command again"):
                record.write(folder)


def _folders(config: DictConfig) -> list[Path]:
    """Return the folders in which Hydra searches for YAML files."""
    sources = config.hydra.runtime.config_sources
    found = [Path(source.path) for source in sources if source.schema == "file"]
    return [config_dir(), *(folder for folder in found if folder != config_dir())]
