"""`mbrl train`: let Hydra compose the config and start the job.

This module imports neither torch nor the run itself, so that `--help`, `--cfg` and shell completion
answer quickly.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig

from mbrl_cli.config.command_words import SWEEP, allow_new_group_key, prepare_words
from mbrl_cli.config.composition import hydra_errors_as_user_errors
from mbrl_cli.config.debug_settings import apply_limits
from mbrl_cli.config.error_exit import exit_on_user_error
from mbrl_cli.config.groups import check_user_dir, config_dir
from mbrl_cli.config.hydra_errors import explain_hydra_error
from mbrl_cli.config.hydra_version import MAIN_ARGUMENTS
from mbrl_cli.config.override_check import check_choices, check_group_keys
from mbrl_cli.config.resolved_config import resolved_config
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.config.sweep_end import SweepEnd
from mbrl_cli.config.sweep_record import resume_command
from mbrl_cli.config.sweeper import ResumableSweeper
from mbrl_cli.config.targets import make_importable
from mbrl_cli.config.train_help import train_help
from mbrl_cli.errors import disk_fault, printable


def launch(argv: Sequence[str]) -> SweepEnd | None:
    """Run `mbrl train ARGV`; print a mistake in one line and exit with code 2.

    Returns:
        How a sweep ended, None for everything else. Jobs that failed are not reported here.
    """
    register_resolvers()
    make_importable(os.getcwd())
    options, _ = _hydra_options(argv)
    if options.config_dir is not None:
        check_user_dir(options.config_dir)
    if options.help:
        print(train_help(options.config_dir), end="")
        return None
    if "-sc" not in argv:
        argv = [*map(allow_new_group_key, prepare_words(argv, options.config_dir))]
    overrides = [word for word in argv if "=" in word and not word.startswith("-")]
    check_choices(overrides, options.config_dir)
    if options.cfg is not None:
        check_group_keys(overrides, options.config_dir)
        if options.cfg == "job" and options.resolve and not options.package:
            print(resolved_config(overrides, options.config_dir), end="")
            return None
    argv = [*argv, *_subfolder_override(argv, overrides)]
    # Hydra's shell completion knows commands of one word only.
    sys.argv = ["mbrl" if "-sc" in argv else "mbrl train", *argv]
    shows_trace = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them
    main = hydra.main(config_path=str(config_dir()), config_name="train", **MAIN_ARGUMENTS)(task)
    ResumableSweeper.install()
    JobReturn.return_value = property(_result_of_job, _set_result)  # type: ignore[assignment]
    try:
        main()
    except Exception as error:
        # First the mistakes: Hydra's error for a choice that does not exist is an OSError, too.
        text = None if shows_trace else explain_hydra_error(error)
        if text is not None:
            print(f"mbrl: {printable(text)}", file=sys.stderr)
            raise SystemExit(2) from None
        fault = disk_fault(error, *_folder_and_remedy()) if isinstance(error, OSError) else None
        if fault is not None:
            raise fault from error
        raise  # not a mistake in the words: `exit_on_user_error` explains it or shows the trace
    return ResumableSweeper.end


def task(cfg: DictConfig) -> float:
    """Run one job. It is a module-level function so that Hydra's launchers can pickle it."""
    # Importing torch takes seconds, which `--cfg` and shell completion do not need.
    from mbrl_cli.config.model_from import make_source_absolute
    from mbrl_cli.config.sweep_job import run_sweep_job
    from mbrl_cli.config.train import start_run

    register_resolvers()  # a worker process of a launcher starts without them
    hydra = HydraConfig.get()
    apply_limits(cfg, hydra.overrides.task)
    if hydra.mode == RunMode.MULTIRUN:
        return run_sweep_job(cfg)
    with exit_on_user_error():  # if it reached Hydra, Hydra would print all overrides before it
        make_source_absolute(cfg)
        return start_run(cfg, Path(hydra.runtime.output_dir), hydra.runtime.choices)


def _result_of_job(job: JobReturn) -> Any:
    """Return the result of a job or raise its error; Hydra prints all overrides before it."""
    if job.status == JobStatus.COMPLETED:
        return job._return_value
    raise job._return_value


def _set_result(job: JobReturn, result: Any) -> None:
    job._return_value = result


def _folder_and_remedy() -> tuple[Path | None, str]:
    """Return the folder into which Hydra writes, and what to do if that fails."""
    if not HydraConfig.initialized():
        return None, ""
    config = HydraConfig.get()
    if config.mode != RunMode.MULTIRUN:
        return Path(config.run.dir), "then type the command again"
    folder = Path(config.sweep.dir)
    return folder, f"then type: {resume_command(folder)}"


def _hydra_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return those of Hydra's options that are needed before Hydra starts, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--package", "-p")
    parser.add_argument("--config-dir", "-cd", type=Path)
    return parser.parse_known_args(argv)


def _subfolder_override(argv: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the override that names the jobs of a sweep by the keys that differ."""
    given = [word.partition("=")[0].lstrip("+") for word in overrides]
    if not any(option in argv for option in SWEEP) or "hydra.sweep.subdir" in given:
        return []
    with hydra_errors_as_user_errors():
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = [override.key_or_group for override in parsed if override.is_sweep_override()]
    keys = [key for key in swept if not key.startswith("hydra.")]
    return [f"hydra.sweep.subdir='${{job_name:{','.join(keys)}}}'"] if keys else []
