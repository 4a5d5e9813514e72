"""Train in a Python process that goes on afterwards, without Hydra's own start of a job.

Hydra's start changes the process: its log handlers, `sys.argv`, a global state of its own. Here
Hydra only composes the config. Everything else of a run is that of `mbrl train`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.config.disk_faults import disk_faults
from mbrl_cli.config.model_from import make_source_absolute
from mbrl_cli.config.output_folder import check_output_folder
from mbrl_cli.config.train import start_run
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.errors import UserError


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
        make_source_absolute(run.config)
        with disk_faults(run.folder):
            run.folder.mkdir(parents=True, exist_ok=True)
        start_run(run.config, run.folder, run.choices)
    return run.folder


@contextmanager
def _process_state_restored() -> Iterator[None]:
    """Restore the number of torch's threads and the global random generators after the block."""
    threads = torch.get_num_threads()
    try:
        with restored_global_generators():
            yield
    finally:
        torch.set_num_threads(threads)
