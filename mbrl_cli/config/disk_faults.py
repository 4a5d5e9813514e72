"""Report an error of the disk as a fault with an exit code and a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbrl_cli.errors import disk_fault


@contextmanager
def disk_faults(folder: Path, remedy: str = "") -> Iterator[None]:
    """Raise DiskFault for an OSError of the disk, or of a file in the run folder.

    Args:
        folder: the run folder.
        remedy: what to type when the cause is removed.
    """
    try:
        yield
    except OSError as error:
        fault = disk_fault(error, folder, remedy)
        if fault is None:
            raise  # for example a network error inside a user's class: the trace is needed
        raise fault from error
