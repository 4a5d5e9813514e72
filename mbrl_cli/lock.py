"""A lock that allows one process at a time to work in a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbrl_cli.errors import UserError
from mbrl_cli.run_files import open_regular

LOCK_FILE = ".lock"
_held: set[int] = set()  # descriptors of the locks that this process holds


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock inside the block; the kernel releases it when the process ends.

    The file holds the id of the process. A child that is forked inside the block closes its copy of
    the descriptor, so it does not keep the lock when this process is killed.

    Raises UserError if another process holds the lock, or if the folder cannot be written. Windows
    has no such lock: there this does nothing.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        descriptor = open_regular(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UserError(f"{folder}: cannot write to it ({error.strerror})") from error
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: {_holder(descriptor)}") from error
        except OSError as error:
            raise UserError(f"{folder}: cannot lock it ({error.strerror})") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Return the error text about the process that holds the lock."""
    text = os.pread(descriptor, 20, 0)
    if not text.isdigit():
        return "another process is running it"
    pid = int(text)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return (
            f"process {pid}, which ran it, has ended, but one that it started still holds "
            f"{LOCK_FILE}; end it, or wait"
        )
    except (PermissionError, OverflowError):
        pass
    return f"another process is running it, process {pid}"


def _close_in_child() -> None:
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
