"""One process at a time in a run folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbrl_cli.errors import UserError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock inside the block; the kernel lets go of it when a process is killed.

    Raises UserError where another process holds it, or the folder cannot be written. On Windows
    there is no such lock and nothing is held.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise UserError(f"{folder}: cannot write to it ({error.strerror})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: another process is running it") from error
        yield
