"""TensorBoard's event file, appended to in order, so that its length names a moment of a run.

The writers that come with TensorBoard start a new file each time and write from a thread; a run
that goes on shall neither double a point nor leave a gap.
"""

from __future__ import annotations

import os
import socket
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

PATTERN = "events.out.tfevents.*"
_FRAME = 12, 4  # bytes before and after a record's data: length and checksum, checksum
FLUSH_SECONDS = 10.0
FRAME_MS = 200  # of a film


class EventFile:
    """The event file of one run folder.

    Args:
        folder: the run folder; the file in it is gone on with, or a new one is started.
        position: what `position` returned at the moment to go on from; what was written after it is
            dropped. Where the file does not reach that far (it was cut, or damaged) it is started
            anew, and `is_new` tells so.
    """

    def __init__(self, folder: Path, position: int = 0) -> None:
        # Heavy imports, that nobody pays for with `--help`.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        found = sorted(folder.glob(PATTERN))
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        path = found[0] if found else folder / name
        self.is_new = position == 0 or not _has_record_end(path, position)
        self._file = path.open("ab")
        self._file.truncate(0 if self.is_new else position)
        self._file.seek(0, os.SEEK_END)
        self._records = RecordWriter(self._file)
        self._flushed = time.monotonic()
        if self.is_new:
            self._write(file_version="brain.Event:2")

    @property
    def position(self) -> int:
        """Return the length in bytes of everything written so far."""
        return self._file.tell()

    def add_scalar(self, env_step: int, tag: str, value: float) -> None:
        """Write one point."""
        self.add_summary(
            self._summary(value=[self._summary.Value(tag=tag, simple_value=value)]), env_step
        )

    def add_film(self, env_step: int, tag: str, frames: np.ndarray) -> None:
        """Write frames [T, height, width, 1 or 3] as one moving picture."""
        from PIL import Image  # comes with TensorBoard

        first, *others = (
            Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame)
            for frame in frames
        )
        content = BytesIO()
        first.save(content, "GIF", save_all=True, append_images=others, duration=FRAME_MS, loop=0)
        image = self._summary.Image(
            height=frames.shape[1], width=frames.shape[2], colorspace=frames.shape[3],
            encoded_image_string=content.getvalue(),
        )  # fmt: skip
        self.add_summary(self._summary(value=[self._summary.Value(tag=tag, image=image)]), env_step)

    def add_summary(self, summary: Any, env_step: int = 0) -> None:
        """Write a summary of any kind; it is on disk some seconds later."""
        self._write(summary=summary, step=env_step)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what is left; nothing can be written any more."""
        self._file.close()

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        self.flush()
        os.fsync(self._file.fileno())

    def _write(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())


def _has_record_end(path: Path, position: int) -> bool:
    """Return whether a record of the file at `path` ends exactly at `position`."""
    if not path.exists() or path.stat().st_size < position:
        return False
    content, end = path.read_bytes(), 0
    while end < position:
        end += sum(_FRAME) + int.from_bytes(content[end : end + 8], "little")
    return end == position
