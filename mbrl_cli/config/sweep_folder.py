"""Folders of sweeps, where the folder of a run is expected."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from mbrl_cli.config.saved_config import CONFIG
from mbrl_cli.errors import UserError

MAX_LISTED = 6  # runs that an error text names


def refuse_sweep_folder(command: str, folder: Path) -> None:
    """Raise UserError, with the names of its runs, if `folder` holds runs but is none.

    Args:
        command: the subcommand that needs a run: eval or resume.
        folder: what the user gave.
    """
    if (folder / CONFIG).exists() or not folder.is_dir():
        return
    runs = [path.parent.name for path in folder.glob(f"[!.]*/{CONFIG}")]
    if not runs:
        return
    runs.sort(key=_natural)
    more = f" and {len(runs) - MAX_LISTED} more" if len(runs) > MAX_LISTED else ""
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    raise UserError(
        f"{folder}: holds {count}, {command} takes one: {'  '.join(runs[:MAX_LISTED])}{more}; "
        f"type: mbrl {command} {shlex.quote(str(folder / runs[0]))}"
    )


def _natural(name: str) -> list[str | int]:
    """Return the sort key with which s2 comes before s10."""
    parts = re.split(r"(\d+)", name)  # text and digits in turn
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
