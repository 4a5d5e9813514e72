"""Check the output folder of a new run, and the folder of a run that is resumed."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mbrl_cli.errors import DiskFault, UserError
from mbrl_cli.metrics_csv import METRICS_CSV
from mbrl_cli.run_files import check_regular, check_subfolder

# What mbrl and Hydra write into a run folder or into the folder of a sweep.
FILES = (
    ".lock", "metrics.csv", "events.out.tfevents.*", "fault.txt", "stopped.txt", "config*.yaml",
    "versions.json", "origin.json", "choices.json", "fork.json", "tracker_id.json", "job.json",
    "checkpoint.safetensors", "*.log", "multirun.yaml", "sweep.json",
)  # fmt: skip
_FILE = re.compile("|".join(map(fnmatch.translate, FILES)))
FULL_FOLDERS = (".hydra", "checkpoints", "replay")  # every file in them is written
FOLDERS = (".hydra", "checkpoints", "replay", "wandb")

TRIAL_BYTES = 64 * 1024  # a run writes at least this much


def check_output_folder(folder: Path) -> None:
    """Raise UserError if the folder holds a run already, cannot be written, or has unsafe links."""
    if (folder / METRICS_CSV).exists():
        raise UserError(
            f"hydra.run.dir={folder}: holds a run already, and runs are never overwritten; "
            f"to continue it type: mbrl resume {folder}"
        )
    check_run_folder(folder)
    parent = folder.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"output folder {folder}: {parent} is not a folder")
    try:
        with TemporaryDirectory(dir=parent) as trial:
            # Writing is the only reliable test of the permission to write.
            (Path(trial) / "trial").write_bytes(bytes(TRIAL_BYTES))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFault(
                f"output folder {folder}: {error.strerror}; free disk space, then type the command "
                "again"
            ) from error
        reason = error.strerror or str(error)
        raise UserError(f"output folder {folder}: cannot write to {parent} ({reason})") from error


def check_run_folder(folder: Path) -> None:
    """Raise UserError if a file that a run reads or writes is a link, a FIFO or a device.

    Args:
        folder: the folder of a run, or of a sweep, whose jobs are checked, too.
    """
    if not folder.is_dir():
        return
    jobs = [path for path in folder.iterdir() if path.is_dir() and path.name not in FOLDERS]
    for run in (folder, *jobs):
        for name in FOLDERS:
            check_subfolder(run / name)
        _check_files(run, _FILE)
        for name in FULL_FOLDERS:
            _check_files(run / name)


def _check_files(folder: Path, names: re.Pattern[str] | None = None) -> None:
    """Raise UserError for an entry with such a name, or any name, that is no regular file."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            is_checked = names is None or names.match(entry.name) is not None
            if is_checked and not entry.is_file(follow_symlinks=False):
                check_regular(Path(entry.path))
