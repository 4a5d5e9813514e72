"""The choices of the group `logger`: where a run's scalars go besides metrics.csv."""

from __future__ import annotations

import importlib.util
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mbrl_cli.config.argument_check import check_arguments
from mbrl_cli.config.choice_record import choice_names
from mbrl_cli.config.config_changes import flatten
from mbrl_cli.errors import UserError, install_extra
from mbrl_cli.run_files import read_regular, write_atomically
from mbrl_cli.trackers.base import TrackedRun, Tracker
from mbrl_cli.trackers.tracker_set import TrackerSet
from mbrl_cli.trackers.trackio import Trackio
from mbrl_cli.trackers.wandb import Wandb

TRACKERS: dict[str, type[Tracker]] = {tracker.name: tracker for tracker in (Wandb, Trackio)}
FILES = ("tensorboard", "csv")  # loggers that write into the run folder
ID_FILE = "tracker_id.json"
SWEEP_FILE = "multirun.yaml"  # Hydra writes it into the folder of a sweep


def check_loggers(loggers: Any) -> list[Tracker]:
    """Return the trackers among the loggers, not yet started.

    Args:
        loggers: the value of `logger` in a config.

    Raises:
        UserError: for an unknown logger or key, and for a package that is not installed.
    """
    found = []
    for name, arguments in _by_name(loggers).items():
        if name in FILES and not arguments:
            continue
        if name not in TRACKERS:
            allowed = ", ".join((*FILES, *TRACKERS))
            raise UserError(f"logger.{name}: unknown logger or key; loggers are {allowed}")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"logger={name}: is not installed; {install_extra(name)}")
        values = check_arguments(f"logger.{name}", TRACKERS[name], arguments)
        found.append(TRACKERS[name](**values))
    return found


def writes_events(loggers: Any) -> bool:
    """Return whether the run writes TensorBoard's event file."""
    return "tensorboard" in _by_name(loggers)


def make_trackers(config: Mapping[str, Any], folder: Path) -> TrackerSet:
    """Return the trackers of a run, not yet started.

    Args:
        config: the config of the run as plain values.
        folder: the run folder, which holds the run's id for the trackers.
    """
    trackers = check_loggers(config.get("logger"))
    folder = folder.absolute()
    is_job = (folder.parent / SWEEP_FILE).exists()
    run = TrackedRun(
        name=folder.name,
        group=folder.parent.name if is_job else None,
        folder=folder,
        settings={**flatten(dict(config)), **choice_names(folder, config)},
        run_id=_run_id(folder) if trackers else "",
    )
    return TrackerSet(trackers, run)


def _by_name(loggers: Any) -> dict[str, dict[str, Any]]:
    """Return the arguments of each logger; runs of older versions have TensorBoard's alone."""
    if loggers is None:
        return {"tensorboard": {}}
    plain = (
        OmegaConf.to_container(loggers, resolve=True) if OmegaConf.is_config(loggers) else loggers
    )
    if not isinstance(plain, dict) or not all(isinstance(v, dict | None) for v in plain.values()):
        raise UserError(f"logger={plain}: must be a choice such as logger=wandb")
    return {str(name): arguments or {} for name, arguments in plain.items()}


def _run_id(folder: Path) -> str:
    """Return the id by which trackers know the run; a new run gets one."""
    path = folder / ID_FILE
    if path.exists():
        try:
            run_id = json.loads(read_regular(path, 1000))["id"]
        except (ValueError, KeyError, TypeError):
            run_id = None
        if isinstance(run_id, str) and re.fullmatch("[a-z0-9]{1,32}", run_id):
            return run_id
        raise UserError(f"{path}: is damaged; delete it to continue as a new run of the tracker")
    run_id = secrets.token_hex(4)
    write_atomically(path, (json.dumps({"id": run_id}) + "\n").encode())
    return run_id
