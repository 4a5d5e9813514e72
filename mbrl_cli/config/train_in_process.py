"""Train in a Python process that goes on afterwards, without Hydra's own start of a job.

Hydra's start changes the process: its log handlers, `sys.argv`, a global state of its own. Here
Hydra only composes the config. Everything else of a run is that of `mbrl train`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from omegaconf import open_dict

from mbrl_cli.config.before_run import check_run
from mbrl_cli.config.command_words import allow_new_group_key, prepare_words
from mbrl_cli.config.composition import compose_with_hydra
from mbrl_cli.config.disk_faults import disk_faults
from mbrl_cli.config.groups import check_user_dir, config_dirs
from mbrl_cli.config.model_from import make_source_absolute
from mbrl_cli.config.output_folder import check_output_folder
from mbrl_cli.config.override_check import check_choices
from mbrl_cli.config.targets import make_importable
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
    make_importable(os.getcwd())
    if user_dir is not None:
        check_user_dir(user_dir)
    overrides = [allow_new_group_key(word) for word in prepare_words(words, user_dir)]
    check_choices(overrides, user_dir)
    config = compose_with_hydra(overrides, user_dir)
    folder, choices = Path(config.hydra.run.dir), dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    with _process_state_restored():
        check_run(config, config_dirs(user_dir))
        check_output_folder(folder)
        make_source_absolute(config)
        with disk_faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
        start_run(config, folder, choices)
    return folder


@contextmanager
def _process_state_restored() -> Iterator[None]:
    """Restore the number of torch's threads and the global random generators after the block."""
    threads = torch.get_num_threads()
    try:
        with restored_global_generators():
            yield
    finally:
        torch.set_num_threads(threads)
