"""`mbrl resume RUN_DIR`: continue an interrupted run, or extend a finished one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mbrl_cli.config.overrides import apply_overrides
from mbrl_cli.config.saved_config import load_saved_config
from mbrl_cli.config.sweep_folder import refuse_sweep_folder
from mbrl_cli.config.train import resume_run


def resume_saved_run(
    folder: Path, overrides: Sequence[str], trust: bool, user_dir: Path | None
) -> None:
    """Resume the run in `folder` with changed settings; for the arguments see `load_saved_run`."""
    refuse_sweep_folder("resume", folder)
    config = load_saved_config(folder, trust, user_dir)
    new_choices = apply_overrides(config, overrides, user_dir)
    resume_run(folder, config, trust, user_dir, new_choices=new_choices)
