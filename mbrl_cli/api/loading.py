"""Find and open run folders."""

from __future__ import annotations

import os
from pathlib import Path

from mbrl_cli.api.run import Run
from mbrl_cli.api.run_list import RunList
from mbrl_cli.config.saved_config import CONFIG
from mbrl_cli.errors import UserError

PathLike = str | os.PathLike[str]


def load_run(folder: PathLike, trust: bool = False, config_dir: PathLike | None = None) -> Run:
    """Return the run in a folder, finished or not; nothing is written into the folder.

    Args:
        folder: a run folder such as `outputs/2026-11-25_16-06-02_cartpole_mpc_cem_s0_8430`.
        trust: let the run's config import any code that it names. Runs that you started on this
            machine do not need it.
        config_dir: a folder of YAML files; the run's config may import the code that they name.

    Raises:
        mbrl_cli.errors.UserError: if the folder holds no run, or its config is damaged.
    """
    if not (Path(folder) / CONFIG).exists() and any(Path(folder).glob(f"[!.]*/{CONFIG}")):
        raise UserError(f"{folder}: holds several runs; use load_runs({os.fspath(folder)!r})")
    return Run(Path(folder), trust, None if config_dir is None else Path(config_dir))


def load_runs(
    folder: PathLike = "outputs", trust: bool = False, config_dir: PathLike | None = None
) -> RunList:
    """Return all runs in a folder and in its subfolders, those of sweeps too, sorted by path.

    A folder that has a config.yaml and is no readable run is left out; `RunList.skipped` has the
    reason. Symbolic links are not followed.

    Args:
        folder: a run folder, the folder of a sweep, or a folder above them.
        trust: see `load_run`.
        config_dir: see `load_run`.

    Raises:
        mbrl_cli.errors.UserError: if there is no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: is not a folder; type the folder that holds your runs")
    found = RunList()
    _search(os.fspath(folder), found, trust, None if config_dir is None else Path(config_dir))
    return found


def _search(folder: str, found: RunList, trust: bool, user_dir: Path | None) -> None:
    """Add the runs in a folder and its subfolders; the subfolders of a run are not searched."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError:  # not readable for this user, or deleted meanwhile
        return
    if any(entry.name == CONFIG for entry in entries):
        try:
            found.append(Run(Path(folder), trust, user_dir))
            return
        except UserError as error:  # such as the config.yaml of another program
            found.skipped[Path(folder)] = str(error)
    for entry in entries:
        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            _search(entry.path, found, trust, user_dir)
