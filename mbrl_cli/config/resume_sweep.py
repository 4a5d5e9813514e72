"""The words that start a recorded sweep again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from mbrl_cli.config.command_words import key_of, quote_path
from mbrl_cli.config.composition import hydra_errors_as_user_errors
from mbrl_cli.config.own_runs import training_folder
from mbrl_cli.config.sweep_record import SWEEP, read_sweep
from mbrl_cli.errors import UserError

LAUNCHER = "hydra/launcher"


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
    kept = [word for word in record.words if not _is_replaced(key_of(word), replaced)]
    _refuse_other_keys(record.words, [*kept, *overrides])
    options = [] if config_dir is None else ["--config-dir", config_dir]
    return ["-m", *options, *kept, *overrides, f"hydra.sweep.dir={folder}"]


def _is_replaced(key: str, replaced: set[str]) -> bool:
    """Return whether a word of the sweep is left out; settings belong to their launcher."""
    return key in replaced or (LAUNCHER in replaced and key.startswith("hydra.launcher."))


def _refuse_other_keys(before: Sequence[str], now: Sequence[str]) -> None:
    """Raise UserError if other keys have several values: they name the folders of the jobs."""
    keys, given = _swept_keys(before), _swept_keys(now)
    if keys != given:
        shown = ", ".join(sorted(keys))
        raise UserError(
            f"{', '.join(sorted(keys ^ given))}: a sweep keeps the keys that have several values "
            f"({shown}), because they name its folders; change their values, or start a new sweep"
        )


def _swept_keys(words: Sequence[str]) -> set[str]:
    with hydra_errors_as_user_errors():
        parsed = OverridesParser.create().parse_overrides([quote_path(w, True) for w in words])
    return {override.key_or_group for override in parsed if override.is_sweep_override()}
