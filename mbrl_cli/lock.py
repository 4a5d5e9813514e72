"""A lock that allows one process at a time to work in a run folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbrl_cli.errors import UserError

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock inside the block; the kernel releases it when the process ends.

    Raises UserError if another process holds the lock, or if the folder cannot be written. Windows
    has no such lock: there this does nothing.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        file = (folder / LOCK_FILE).open("w")
    except OSError as error:
        raise UserError(f"{folder}: cannot write to it ({error.strerror})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: another process is running it") from error
        yield
