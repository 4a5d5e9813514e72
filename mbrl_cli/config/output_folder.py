"""Check the output folder of a new run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from mbrl_cli.errors import UserError
from mbrl_cli.metrics_csv import METRICS_CSV


def check_output_folder(folder: Path) -> None:
    """Raise UserError if the folder holds a run already, or cannot be written."""
    if (folder / METRICS_CSV).exists():
        raise UserError(
            f"hydra.run.dir={folder}: holds a run already, and runs are never overwritten; "
            f"to continue it type: mbrl resume {folder}"
        )
    parent = folder.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"output folder {folder}: {parent} is not a folder")
    try:
        with TemporaryDirectory(dir=parent):
            pass  # writing is the only reliable test of the permission to write
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"output folder {folder}: cannot write to {parent} ({reason})") from error
