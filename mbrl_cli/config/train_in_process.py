"""Train in a Python process that goes on afterwards, without Hydra's own start of a job.

Hydra's start changes the process: its log handlers, `sys.argv`, a global state of its own. Here
Hydra only composes the config. Everything else of a run is that of `mbrl train`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from mbrl_cli.config.budget import apply_budget
from mbrl_cli.config.budget_text import BUDGET, refuse_budget
from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.config.disk_faults import disk_faults
from mbrl_cli.config.model_from import make_source_absolute
from mbrl_cli.config.output_folder import check_output_folder
from mbrl_cli.config.saved_config import CONFIG
from mbrl_cli.config.train import resume_run, start_run
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.errors import RunPaused, UserError, printable


def train_in_process(words: Sequence[str], user_dir: Path | None = None) -> Path:
    """Train one run to its end and return its folder.

    Args:
        words: the words after `mbrl train`, `key=value` each.
        user_dir: the folder of `--config-dir`.

    Raises:
        UserError: for a mistake in the words, and for every end of a run for which `mbrl train` has
            an exit code.
        StopRequested: a KeyboardInterrupt; a signal stopped the run, and its state is saved.
    """
    for word in words:
        if word.startswith("-"):
            raise UserError(
                f"{word}: options are for the command line; give key=value words, config_dir=DIR, "
                "and call train once for each run of a sweep"
            )
    run = ComposedRun(words, user_dir)
    with _process_state_restored():
        run.check()
        check_output_folder(run.folder)
        for line in apply_budget(run.config, words):
            print(printable(line))
        make_source_absolute(run.config)
        with disk_faults(run.folder):
            run.folder.mkdir(parents=True, exist_ok=True)
        start_run(run.config, run.folder, run.choices)
    return run.folder


def train_until(run: ComposedRun, folder: Path, pause_at: int | None) -> tuple[int, float]:
    """Start the run, or continue it, up to an evaluation; return its step and its mean return.

    A run that is continued later is equal to the bit to one that was never paused.

    Args:
        run: the composed run; it is not checked here.
        folder: its folder, which may hold the run already.
        pause_at: pause at the first evaluation at or after this step; None: run to the end.

    Raises:
        UserError: see `train_in_process`.
        StopRequested: see `train_in_process`.
    """
    refuse_budget(run.config.get(BUDGET), "the runs of a search")
    with _process_state_restored():
        make_source_absolute(run.config)
        try:
            if (folder / CONFIG).exists():
                mean = resume_run(folder, run.config, pause_at=pause_at)
            else:
                with disk_faults(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                mean = start_run(run.config, folder, run.choices, pause_at=pause_at)
        except RunPaused as paused:
            return paused.env_step, paused.mean_return
    return run.settings().total_steps, mean


@contextmanager
def _process_state_restored() -> Iterator[None]:
    """Restore the number of torch's threads and the global random generators after the block."""
    threads = torch.get_num_threads()
    try:
        with restored_global_generators():
            yield
    finally:
        torch.set_num_threads(threads)
