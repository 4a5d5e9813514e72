"""The words that start a recorded sweep again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mbrl_cli.config.command_words import key_of
from mbrl_cli.config.own_runs import training_folder
from mbrl_cli.config.sweep_record import SWEEP, read_sweep
from mbrl_cli.errors import UserError


def sweep_words(
    folder: Path, overrides: Sequence[str], trust: bool, user_dir: Path | None
) -> list[str]:
    """Return the words after `mbrl train` that continue a sweep.

    Paths among the words are relative to the folder in which the sweep was started, so it becomes
    the current folder.

    Args:
        folder: of the sweep; it has a record.
        overrides: words that replace those of the sweep, or are added.
        trust: whether the words may name any code although somebody else may have written them.
        user_dir: a folder of YAML files in the place of that of the sweep.

    Raises:
        UserError: if the record is damaged or is not trusted.
    """
    record = read_sweep(folder)
    assert record is not None
    folder = folder.absolute()
    started_in = training_folder(folder, record.text())
    if started_in is None and not trust:
        raise UserError(
            f"{folder / SWEEP}: was not written by you on this machine, and its words may name any "
            "code; add --trust if you know where the folder comes from"
        )
    config_dir = str(user_dir.absolute()) if user_dir is not None else record.config_dir
    if started_in is not None and Path(started_in).is_dir():
        os.chdir(started_in)
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    replaced = {key_of(word) for word in overrides}
    kept = [word for word in record.words if key_of(word) not in replaced]
    options = [] if config_dir is None else ["--config-dir", config_dir]
    return ["-m", *options, *kept, *overrides, f"hydra.sweep.dir={folder}"]
