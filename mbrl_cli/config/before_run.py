"""What is checked before a run has a folder."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mbrl_cli.config.app import explain, refusing
from mbrl_cli.config.build import build
from mbrl_cli.errors import UserError
from mbrl_cli.metrics_csv import METRICS_CSV


class CheckBeforeRun(Callback):
    """Hydra calls this before it makes any folder: build everything once, refuse what is wrong.

    Hydra turns exceptions of callbacks into warnings, so a refusal exits here.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run."""
        with refusing():
            build(config)
            check_folder(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of a sweep; a sweeper that invents its values checks at each job."""
        with refusing():
            if config.hydra.sweeper._target_.endswith("basic_sweeper.BasicSweeper"):
                for overrides in _sweep_jobs(config):
                    build(_composed(overrides))
            check_folder(Path(config.hydra.sweep.dir))


def _composed(overrides: list[str]) -> DictConfig:
    try:
        return compose("train", overrides=overrides)
    except HydraException as error:
        raise UserError(explain(error) or str(error)) from error


def _sweep_jobs(config: DictConfig) -> list[list[str]]:
    parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    options = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [o.input_line or ""]
        for o in parsed
    ]
    return [list(job) for job in product(*options)]


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds a run already, or that cannot be written."""
    if (folder / METRICS_CSV).exists():
        raise UserError(
            f"hydra.run.dir={folder}: already holds a run; runs are never overwritten; "
            f"go on with it: mbrl resume {folder}"
        )
    parent = folder.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"output folder {folder}: {parent} is no folder")
    try:
        with TemporaryDirectory(dir=parent):
            pass  # the only sure way to learn whether it can be written
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"output folder {folder}: cannot write to {parent} ({reason})") from error
