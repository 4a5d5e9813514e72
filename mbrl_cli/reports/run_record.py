"""Read what a comparison needs from run folders."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np

from mbrl_cli.api.run import Run
from mbrl_cli.config.config_changes import flatten
from mbrl_cli.config.hparams import typed_words
from mbrl_cli.config.versions import VERSIONS
from mbrl_cli.errors import UserError
from mbrl_cli.reports.comparison import RunRecord
from mbrl_cli.reports.curves import Curve, clean_curve
from mbrl_cli.reports.group_names import RunSettings
from mbrl_cli.run_files import read_regular
from mbrl_cli.stopwatch import PHASES

MAX_BYTES = 2**19
FORK = "fork"  # key of the step at which a run was forked


def read_settings(run: Run) -> RunSettings:
    """Return the settings of a run, and the keys that were typed on its command line."""
    env = run.config["env"]
    typed = [word.partition("=")[0].lstrip("+~") for word in typed_words(run.folder)]
    return RunSettings(
        env=str(env.get("id", run.choices["env"])),
        choices=run.choices,
        values=flatten(run.config) | {FORK: _fork_step(run)},
        typed=typed,
    )


def _fork_step(run: Run) -> int | str:
    """Return the step of a fork with changed settings; "no" for other runs.

    A fork without changes gives the numbers of its origin.
    """
    return "no" if run.fork is None or not run.fork.words else run.fork.env_step


def read_record(run: Run, state: str, env: str, group: str, metric: str) -> RunRecord | None:
    """Return the record of a run; None if it has no finite value of the metric."""
    times = [f"time/{phase}" for phase in PHASES]
    logged = run.metrics([metric, *times])
    if metric not in logged:
        return None
    curve = clean_curve(logged[metric]["env_step"], logged[metric]["value"])
    if not len(curve.steps):
        return None
    seconds = None
    timed = [logged[tag] for tag in times if tag in logged]
    phases = [clean_curve(series["env_step"], series["value"]) for series in timed]
    if phases and all(len(phase.steps) == len(phases[0].steps) for phase in phases):
        seconds = Curve(phases[0].steps, np.sum([phase.values for phase in phases], axis=0))
    return RunRecord(
        folder=run.folder,
        env=env,
        group=group,
        seed=run.seed,
        state=state,
        steps=run.steps,
        curve=curve,
        seconds=seconds,
        command=_command(run),
        commit=_commit(run.folder),
        origins=run.fork.origins if run.fork is not None else (),
    )


def _command(run: Run) -> str:
    """Return the command that starts the same run; empty if it is not known."""
    if run.fork is not None:
        source, step = run.fork.origins[0].run, run.fork.env_step
        return shlex.join(["mbrl", "fork", source, f"at={step}", *run.fork.words])
    words = typed_words(run.folder)
    return shlex.join(["mbrl", "train", *words]) if words else ""


def _commit(folder: Path) -> str:
    """Return the git revision of the code that started the run; empty if it is not known."""
    try:
        versions = json.loads(read_regular(folder / VERSIONS, MAX_BYTES))
    except (OSError, UserError, ValueError):
        return ""
    return str(versions.get("git") or "") if isinstance(versions, dict) else ""
