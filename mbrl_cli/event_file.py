"""TensorBoard's event file, written so that a resumed run can cut it back to a checkpoint.

TensorBoard's own writers start a new file each time and write from a thread. Here records are
appended to one file in order, so its length identifies a moment of the run, and a resumed run
neither repeats a point nor leaves a gap.
"""

from __future__ import annotations

import os
import socket
import time
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mbrl_cli.event_records import records_are_intact
from mbrl_cli.run_files import open_regular
from mbrl_cli.tags import describe

EVENT_FILES = "events.out.tfevents.*"
FLUSH_SECONDS = 10.0
VIDEO_FRAME_MS = 200


class EventFile:
    """The event file of one run folder.

    Args:
        folder: the run folder; its event file is continued, or a new one is started.
        position: length in bytes at which to continue; everything after it is deleted. If no record
            ends at this position, or a record before it is damaged, the file is started again and
            `is_new` is true.
    """

    def __init__(self, folder: Path, position: int = 0) -> None:
        # Imported here, because they are slow and `mbrl --help` does not need them.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary, self._metadata = Event, Summary, SummaryMetadata
        self._described: set[str] = set()  # tags whose description is in the file
        existing = sorted(folder.glob(EVENT_FILES))
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        path = existing[0] if existing else folder / name
        self.is_new = position == 0 or not _is_intact(path, position)
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._file = os.fdopen(descriptor, "ab")
        self._file.truncate(0 if self.is_new else position)
        self._file.seek(0, os.SEEK_END)
        self._records = RecordWriter(self._file)
        self._flush_time = time.monotonic()
        if self.is_new:
            self._write(file_version="brain.Event:2")

    @property
    def position(self) -> int:
        """Return the length of the file in bytes."""
        return self._file.tell()

    def add_scalar(self, env_step: int, tag: str, value: float) -> None:
        """Append one point of a curve."""
        point = self._summary.Value(
            tag=tag, simple_value=value, metadata=self._description(tag, "scalars")
        )
        self.add_summary(self._summary(value=[point]), env_step)

    def add_video(
        self, env_step: int, tag: str, frames: np.ndarray, frame_ms: int = VIDEO_FRAME_MS
    ) -> None:
        """Append frames [T, height, width, 1 or 3] (uint8) as an animated GIF."""
        from PIL import Image  # comes with TensorBoard

        first, *others = (
            Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame)
            for frame in frames
        )
        gif = BytesIO()
        first.save(gif, "GIF", save_all=True, append_images=others, duration=frame_ms, loop=0)
        image = self._summary.Image(
            height=frames.shape[1], width=frames.shape[2], colorspace=frames.shape[3],
            encoded_image_string=gif.getvalue(),
        )  # fmt: skip
        point = self._summary.Value(tag=tag, image=image, metadata=self._description(tag, "images"))
        self.add_summary(self._summary(value=[point]), env_step)

    def add_summary(self, summary: Any, env_step: int = 0) -> None:
        """Append a summary of any kind; it reaches the disk within about `FLUSH_SECONDS`."""
        self._write(summary=summary, step=env_step)
        if time.monotonic() - self._flush_time > FLUSH_SECONDS:
            self.flush()

    def _description(self, tag: str, plugin: Literal["scalars", "images"]) -> Any:
        """Return the meaning of a tag for its first point, None for the others.

        TensorBoard reads the first one; a resumed run may write it again.
        """
        known = None if tag in self._described else describe(tag)
        self._described.add(tag)
        if known is None:
            return None
        kind = "DATA_CLASS_SCALAR" if plugin == "scalars" else "DATA_CLASS_UNKNOWN"
        return self._metadata(
            summary_description=known.text(),
            plugin_data=self._metadata.PluginData(plugin_name=plugin),
            data_class=kind,
        )

    def flush(self) -> None:
        """Pass everything written so far to the operating system."""
        self._file.flush()
        self._flush_time = time.monotonic()

    def sync(self) -> None:
        """Write everything to the disk, so that it survives a power cut."""
        self.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()

    def _write(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())


def _is_intact(path: Path, position: int) -> bool:
    """Return whether the file at `path` is intact up to `position`, where a record ends."""
    if not path.exists() or path.stat().st_size < position:
        return False
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        return records_are_intact(file.read(position), position)
