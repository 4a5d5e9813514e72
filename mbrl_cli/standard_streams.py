"""Standard output and error that cannot end a run: a closed pipe or a full disk loses text only.

A run's result is in its folder. Without this module a reader that closes the pipe (`| head -1`), a
closed descriptor, a full log disk, or an encoding without "±" would end the run with a traceback.
"""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import sys
from typing import Any, TextIO

ERROR_HANDLER = "mbrl_ascii"  # name of the handler for characters that the encoding lacks
ASCII = {"±": "+-", "…": "..."}


def protect_standard_streams() -> None:
    """Make writing to standard output and standard error succeed always; call once, at the start.

    Text that cannot be written is discarded. If standard output fails for another reason than a
    reader that is gone, one line on standard error says so. Streams that a test or a notebook has
    replaced are left unchanged.
    """
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return
    _open_closed_descriptors()
    codecs.register_error(ERROR_HANDLER, _replace_by_ascii)
    sys.stdout = _protected(sys.stdout, 1)
    sys.stderr = _protected(sys.stderr, 2)
    logging.raiseExceptions = False  # a log file on a full disk must not print a traceback


class _Descriptor(io.FileIO):
    """A file descriptor that is redirected to the null device after its first failed write."""

    def write(self, data: Any, /) -> int:
        """Write as `io.FileIO` does; pretend success after a failure."""
        try:
            return super().write(data) or 0
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if self.fileno() == 1 and error.errno not in (errno.EPIPE, errno.EIO):
                reason = error.strerror
                print(f"mbrl: standard output is lost from here on ({reason})", file=sys.stderr)
            return len(memoryview(data))


def _protected(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a text stream on `descriptor` with the encoding of `stream`."""
    if stream is not None:
        stream.flush()
    raw = _Descriptor(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors=ERROR_HANDLER,
        line_buffering=descriptor == 2 or raw.isatty(),
    )


def _open_closed_descriptors() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next file that is opened gets that number, and output of C code lands in it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number


def _replace_by_ascii(error: UnicodeError) -> tuple[str, int]:
    """Return ASCII text for characters that the encoding lacks, and the position after them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(ASCII.get(character, "?") for character in missing), error.end
