"""Check the output folder of a new run, and the folder of a run that is resumed."""

from __future__ import annotations

import errno
from pathlib import Path
from tempfile import TemporaryDirectory

from mbrl_cli.errors import DiskFault, UserError
from mbrl_cli.metrics_csv import METRICS_CSV
from mbrl_cli.run_files import check_regular, check_subfolder

# What mbrl and Hydra write into a run folder or into the folder of a sweep.
FILES = (
    ".lock", "metrics.csv", "events.out.tfevents.*", "fault.txt", "stopped.txt", "config*.yaml",
    "versions.json", "origin.json", "choices.json", "fork.json", "tracker_id.json", "job.json",
    "checkpoint.safetensors", "*.log", "multirun.yaml", "sweep.json", ".hydra/*",
    "checkpoints/*", "replay/*",
)  # fmt: skip
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
        for pattern in FILES:
            for path in run.glob(pattern):
                check_regular(path)
