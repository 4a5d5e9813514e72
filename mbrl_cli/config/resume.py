"""`mbrl resume RUN_DIR`: go on with a run that was cut, or make a finished one longer."""

from __future__ import annotations

from collections.abc import Sequence

from mbrl_cli.config.run_folder import run_folder, saved_config
from mbrl_cli.config.saved_run import apply_overrides
from mbrl_cli.config.train import go_on

USAGE = "usage: mbrl resume RUN_DIR [total_steps=5000] [key=value ...] [--trust]"


def resume(argv: Sequence[str]) -> None:
    """Go on with the run in `argv[0]`, with the changes that follow."""
    folder, overrides, trust = run_folder(argv, USAGE)
    config = saved_config(folder, trust)
    apply_overrides(config, overrides)
    go_on(folder, config, trust)
