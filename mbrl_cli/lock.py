"""A lock that allows one process at a time to work in a run folder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbrl_cli.errors import UserError
from mbrl_cli.run_files import open_regular

LOCK_FILE = ".lock"
# Seconds that `locked` waits for the lock: `is_locked` of another process holds it for an instant.
PATIENCE = 0.2
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
    try:
        descriptor = open_regular(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UserError(f"{folder}: cannot write to it ({error.strerror})") from error
    _held.add(descriptor)
    try:
        try:
            _lock(descriptor)
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


def is_locked(folder: Path) -> bool:
    """Return whether a process works in the folder; false if this cannot be found out.

    Nothing is written. Always false on Windows, which has no such lock.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        descriptor = open_regular(folder / LOCK_FILE, os.O_RDONLY)
    except (OSError, UserError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int) -> None:
    """Lock the file; raise BlockingIOError if another process keeps the lock."""
    import fcntl

    end = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(PATIENCE / 20)


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
