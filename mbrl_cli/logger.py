"""Logging of one run: TensorBoard, metrics.csv and the console."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.plain_lines import PlainLines
from mbrl_cli.console.run_progress import RunProgress
from mbrl_cli.console.view import make_console_view
from mbrl_cli.event_file import VIDEO_FRAME_MS, EventFile
from mbrl_cli.metrics_csv import METRICS_CSV, MetricsCsv, check_metrics_csv, last_env_step
from mbrl_cli.tensorboard_pages import hparams_summaries, layout_summary, text_summary
from mbrl_cli.trackers.tracker_set import TrackerSet

Status = Literal["finished", "interrupted", "failed"]


class Logger:
    """Writes each scalar to metrics.csv, TensorBoard's event file and trackers; shows some of them.

    metrics.csv holds every value in full. TensorBoard's reader keeps float32 and 10,000 points for
    each tag, so reports read metrics.csv.

    As a context manager it closes the files when the block ends, also after Ctrl-C.

    A resumed run passes the step and the `position` that its checkpoint holds. Everything logged
    after that position is deleted, so the files equal those of a run that was never interrupted.
    If the event file does not reach that position, it is rebuilt from metrics.csv. The `position`
    of a fork has the key "shared": the bytes of metrics.csv that are those of another run. Of them
    the event file has the last value of each tag alone, from which the curves of the fork go on.

    `job` is the run's place in a sweep. `events` is false without TensorBoard. `trackers` get the
    scalars, too.

    Raises UserError if metrics.csv does not reach that position.
    """

    def __init__(
        self,
        folder: Path,
        console: bool = True,
        job: JobInSweep | None = None,
        position: Mapping[str, int] | None = None,
        events: bool = True,
        trackers: TrackerSet | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        start = position or {"csv": 0, "events": 0}
        check_metrics_csv(folder, start["csv"], start.get("csv_crc"))
        self._trackers = trackers
        if trackers:
            trackers.start(-1 if position is None else last_env_step(folder))
        self._csv = MetricsCsv(folder, start["csv"])
        self._events = EventFile(folder, start["events"]) if events else None
        self._shared = start.get("shared", 0)
        if position is not None and self._events is not None and self._events.is_new:
            if start["events"]:
                print(
                    f"mbrl: {folder}: the event file is damaged or missing; it is rebuilt from "
                    f"{METRICS_CSV}, without its videos"
                )
            self._rebuild_events(self._events)
        self._view = make_console_view(folder.name, job) if console else None
        self._result_view = self._view or PlainLines("" if job is None else job.label)
        self._last: dict[str, float] = {}  # last value of each tag
        self._evaluated = False
        self._end_record: Any = None  # TensorBoard's record that the run finished
        self._closed = False
        self.seconds = 0.0  # in which scalars and videos were recorded

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close("finished")
        else:
            self.close("interrupted" if issubclass(kind, KeyboardInterrupt) else "failed")

    def describe(
        self,
        hparams: Mapping[str, object],
        differing: Collection[str],
        config: str,
        latent_model: bool = False,
    ) -> None:
        """Record what TensorBoard shows beside the curves; call once, before scalars.

        Args:
            hparams: the settings by which runs are compared, for the HPARAMS page.
            differing: those that differ between the jobs of a sweep.
            config: the whole config as YAML, for the Text page.
            latent_model: whether the run's model has no held-out loss.
        """
        columns, start, self._end_record = hparams_summaries(hparams, differing)
        if self._events is not None and self._events.is_new:
            pages = layout_summary(latent_model), text_summary("config", config)
            for record in (columns, start, *pages):
                self._events.add_summary(record)

    def scalars(self, env_step: int, values: Mapping[str, float]) -> None:
        """Record `values`, tag -> number, at `env_step`; NaN and infinities are recorded too."""
        start = time.perf_counter()
        numbers = {tag: float(value) for tag, value in values.items()}
        self._csv.write(env_step, numbers)
        if self._events is not None:
            for tag, number in numbers.items():
                self._events.add_scalar(env_step, tag, number)
        if self._trackers:
            self._trackers.log(env_step, numbers)
        self._last |= numbers
        self._evaluated |= "eval/return" in values
        self.seconds += time.perf_counter() - start

    def video(
        self, env_step: int, tag: str, frames: np.ndarray, frame_ms: int = VIDEO_FRAME_MS
    ) -> None:
        """Record frames [T, height, width, 1 or 3] (uint8) as an animated image in TensorBoard.

        Videos are in the event file only: an event file rebuilt from metrics.csv has none.
        """
        start = time.perf_counter()
        if self._events is not None:
            self._events.add_video(env_step, tag, frames, frame_ms)
        self.seconds += time.perf_counter() - start

    def progress(self, progress: RunProgress) -> None:
        """Show the progress on the console; cheap enough to call at every step."""
        if self._view is not None:
            self._view.update(progress, self._last, self._evaluated)
            self._evaluated = False

    def message(self, text: str) -> None:
        """Print a line of text on the console, unless `console` is false."""
        if self._view is not None:
            self._view.message(text)

    def result(self, text: str) -> None:
        """Print a line of text, also if `console` is false."""
        self._result_view.message(text)

    def last_values(self) -> dict[str, float]:
        """Return the last value of each tag, also from the part before a resume."""
        return {tag: value for _, tag, value in self._csv.read()}

    def position(self) -> dict[str, int]:
        """Return what is needed to resume logging from here.

        These are the lengths of both files in bytes, and the CRC-32 of metrics.csv.
        """
        return {
            "csv": self._csv.position,
            "csv_crc": self._csv.crc,
            "events": 0 if self._events is None else self._events.position,
            **({"shared": self._shared} if self._shared else {}),
        }

    def _rebuild_events(self, events: EventFile) -> None:
        """Write the rows of metrics.csv to a new event file."""
        shared = list(self._csv.read(self._shared))
        last = {tag: (env_step, value) for env_step, tag, value in shared}
        for tag, (env_step, value) in last.items():
            events.add_scalar(env_step, tag, value)
        for env_step, tag, value in islice(self._csv.read(), len(shared), None):
            events.add_scalar(env_step, tag, value)

    def sync(self) -> None:
        """Write everything to the disk, so that it survives a power cut.

        Call it before a checkpoint that contains `position`.
        """
        self._csv.sync()
        if self._events is not None:
            self._events.sync()

    def close(self, status: Status) -> None:
        """Restore the terminal, record that a finished run finished, and close the files, once."""
        if self._closed:
            return
        self._closed = True
        if self._view is not None:
            self._view.stop(finished=status == "finished")
        # An interrupted or failed run gets no end record: it may be resumed in this folder, and
        # TensorBoard uses the first of several end records.
        if self._events is not None:
            if status == "finished" and self._end_record is not None:
                self._events.add_summary(self._end_record)
            self._events.close()
        self._csv.close()
        if self._trackers:
            self._trackers.finish(status == "finished")
