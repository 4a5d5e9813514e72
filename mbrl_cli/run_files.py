"""Open, read and write the files of a run folder, which may come from another person.

Only regular files inside the folder are accepted. A symbolic link could point to any file of the
user, a FIFO would block, and a hard link shares its content with a file outside of the folder.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from mbrl_cli.errors import UserError

# Windows lacks these flags; it has no FIFOs, and links need special rights there.
_SAFE_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
SPARSE_SIZE = 2**26  # bytes; holes in smaller files do no harm
CHECKPOINTS = "checkpoints"  # folder of the states from which a run is resumed
FINAL_FILE = "checkpoint.safetensors"  # the agent of a finished run
STOPPED_FILE = "stopped.txt"  # why a run finished before its total_steps
FAULT_FILE = "fault.txt"  # the trace of a run that failed
UNFINISHED = ".tmp"  # suffix of files that `write_atomically` has not finished


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file and return its descriptor.

    Args:
        path: the file.
        flags: as for `os.open`, for example `os.O_RDONLY` or `os.O_RDWR | os.O_CREAT`.

    Raises:
        UserError: if the path is a link, a FIFO, a device or a folder, or if the flags
            allow writing and the file has a second name (hard link).
        OSError: if it cannot be opened for another reason.
    """
    check_regular(path)
    descriptor = os.open(path, flags | _SAFE_FLAGS, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: is not a regular file")
    if flags & (os.O_WRONLY | os.O_RDWR) and status.st_nlink > 1:
        os.close(descriptor)
        raise UserError(
            f"{path}: has {status.st_nlink} hard links, so writing to it would change another "
            "file; replace it by a copy"
        )
    return descriptor


def check_regular(path: Path) -> None:
    """Raise UserError if something exists at `path` that is not a regular file."""
    _check_type(path, stat.S_ISREG, "a regular file")


def check_subfolder(path: Path) -> None:
    """Raise UserError if something exists at `path` that is not a folder, such as a link to one."""
    _check_type(path, stat.S_ISDIR, "a folder")


def _check_type(path: Path, is_type: Callable[[int], bool], expected: str) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # the call that opens the file reports the reason
    if not is_type(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else f"not {expected}"
        raise UserError(
            f"{path}: is {kind}; a run folder may hold only regular files and folders of its own"
        )


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        UserError: if it is not a regular file, or longer than `max_bytes`, or almost all of it is
            a hole (a sparse file of a few bytes can have any length).
        OSError: if it cannot be read for another reason.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        status = os.fstat(file.fileno())
        size, on_disk = status.st_size, 512 * getattr(status, "st_blocks", status.st_size)
        if size > SPARSE_SIZE and on_disk < size // 100:
            raise UserError(f"{path}: is damaged: of its {size:,} bytes only {on_disk:,} exist")
        if size > max_bytes:
            raise UserError(f"{path}: has {size:,} bytes; at most {max_bytes:,} are read")
        return file.read(size)


def write_atomically(path: Path, content: bytes | bytearray) -> None:
    """Write a file; a crash or a power cut leaves the complete old file or the complete new one.

    The content goes to a new file with a random name, which then replaces `path`. So neither a link
    at `path` nor one with a predictable temporary name is followed.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE_FLAGS, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Delete what `write_atomically` left in `folder` when its process was killed."""
    for path in folder.glob(f".*{UNFINISHED}"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Write the folder's entries to the disk, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open a folder
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
