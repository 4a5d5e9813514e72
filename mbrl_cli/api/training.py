"""Train a run from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mbrl_cli.api.loading import PathLike
from mbrl_cli.api.run import Run
from mbrl_cli.errors import UserError


def train(overrides: Sequence[str] = (), config_dir: PathLike | None = None) -> Run:
    """Train one run to its end, as `mbrl train` does, and return it.

    The current folder becomes importable, because a config may name code in it. Nothing else of the
    process is changed: Hydra's state, log handlers, `sys.argv`, signal handlers, random generators
    and torch's number of threads are as before, also after an error.

    Args:
        overrides: the words after `mbrl train`: `["env=cartpole", "planner=cem", "seed=1"]`.
        config_dir: as `--config-dir`.

    Raises:
        mbrl_cli.errors.UserError: for a mistake in the words, a fault of the environment
            (`EnvironmentFault`), diverged training (`Diverged`) and a full disk (`DiskFault`); the
            text is that of `mbrl train`. From the last three on, and after a KeyboardInterrupt, the
            state is saved: type `mbrl resume FOLDER`.
    """
    from mbrl_cli.config.train_in_process import train_in_process

    if isinstance(overrides, str):
        raise UserError(
            f'train({overrides!r}): takes a list of words: train(["env=cartpole", "planner=cem"])'
        )
    user_dir = None if config_dir is None else Path(config_dir)
    return Run(train_in_process(list(overrides), user_dir), config_dir=user_dir)
