"""One run's numbers -> TensorBoard, metrics.csv and a live console line. It knows tags, not agents.

metrics.csv holds every value in full; TensorBoard's reader keeps float32 and 10,000 points a tag,
so reports read the CSV.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TextIO

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mbrl_cli.errors import UserError
from mbrl_cli.event_file import EventFile

Status = Literal["finished", "interrupted", "failed"]

METRICS = "metrics.csv"
HEADER = ("env_step", "tag", "value")

# Word on the console -> the tags it may show; the first one ever logged wins.
SHOWN = {
    "return": ("train/return",),
    "eval": ("eval/return",),
    "loss": ("model/holdout_loss", "model/train_loss"),
}
PLAIN_FRACTION = 0.1  # without a terminal: a line at least this much progress apart ...
PLAIN_SECONDS = 30.0  # ... or this much time, whichever comes first


class Logger:
    """Writes scalars to all three places; a context manager, so that Ctrl-C leaves them whole.

    A run that goes on hands over the `position` that was saved with its checkpoint, and the step:
    what was logged after it is dropped, so the files of a run that was cut equal those of one that
    was not. An event file that does not reach that far is written anew from metrics.csv.

    Raises UserError where metrics.csv itself does not reach that far.
    """

    def __init__(
        self,
        folder: Path,
        total_steps: int,
        console: bool = True,
        start_step: int = 0,
        position: Mapping[str, int] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        at = position or {"csv": 0, "events": 0}
        self._csv = _open_csv(folder / METRICS, at["csv"])
        self._rows = csv.writer(self._csv, lineterminator="\n")  # writes floats with repr
        self._events = EventFile(folder, at["events"])
        if position is not None and self._events.is_new:
            self._rewrite_events(folder / METRICS)
        self._view = _make_view(total_steps, start_step) if console else None
        self._last: dict[str, float] = {}
        self._evaluated = False
        self._success: Any = None  # TensorBoard's record that the run finished
        self._closed = False

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

    def hparams(self, flat: Mapping[str, object]) -> None:
        """Record the run's settings for TensorBoard's HPARAMS tab; call once, before scalars."""
        from torch.utils.tensorboard.summary import hparams

        # The experiment record is left out: with several different ones in a log folder the tab
        # hides the metrics of all runs but the first; with none it shows the union.
        settings = {key: _hparam(value) for key, value in flat.items()}
        _, start, self._success = hparams(settings, {})  # type: ignore[no-untyped-call]
        if self._events.is_new:
            self._events.add_summary(start)

    def scalars(self, env_step: int, values: Mapping[str, float]) -> None:
        """Record `values`, tag -> number, at `env_step`; NaN and infinities are recorded too."""
        for tag, number in values.items():
            value = float(number)
            self._rows.writerow((env_step, tag, value))
            self._events.add_scalar(env_step, tag, value)
            self._last[tag] = value
        self._csv.flush()  # one write a call: a run that is killed loses no row
        self._evaluated |= "eval/return" in values

    def film(self, env_step: int, tag: str, frames: np.ndarray) -> None:
        """Show frames [T, height, width, 1 or 3] (uint8) among TensorBoard's images, moving.

        It is in the event file alone: one that is written anew from metrics.csv has no films.
        """
        self._events.add_film(env_step, tag, frames)

    def progress(self, env_step: int) -> None:
        """Show how far the run is; cheap enough for every step."""
        if self._view is not None:
            self._view.update(env_step, self._last, self._evaluated)
            self._evaluated = False

    def message(self, text: str) -> None:
        """Print a line of text above the live line."""
        if self._view is not None:
            self._view.message(text)

    def position(self) -> dict[str, int]:
        """Return where the files are now, for a run that goes on from this moment."""
        return {"csv": self._csv.tell(), "events": self._events.position}

    def sync(self) -> None:
        """Make everything logged so far survive a power cut; before a checkpoint that counts it."""
        self._csv.flush()
        os.fsync(self._csv.fileno())
        self._events.sync()

    def close(self, status: Status) -> None:
        """Give the terminal back, record how the run ended, close the files; only once."""
        if self._closed:
            return
        self._closed = True
        if self._view is not None:
            self._view.stop()
        # Only success is final: of several end records TensorBoard believes the first, and a run
        # that was cut or failed may yet go on in this folder.
        if status == "finished" and self._success is not None:
            self._events.add_summary(self._success)
        self._events.close()
        self._csv.close()

    def _rewrite_events(self, path: Path) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                self._events.add_scalar(int(row["env_step"]), row["tag"], float(row["value"]))


class _View(Protocol):
    """What the console shows of a run."""

    def update(self, env_step: int, last: Mapping[str, float], evaluated: bool) -> None: ...
    def message(self, text: str) -> None: ...
    def stop(self) -> None: ...


class _LiveLine:
    """One line that rewrites itself, for a terminal."""

    def __init__(self, total_steps: int, start_step: int) -> None:
        self._progress = Progress(
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:.0f} %"),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("", total=total_steps, completed=start_step, shown="")

    def update(self, env_step: int, last: Mapping[str, float], evaluated: bool) -> None:
        self._progress.update(self._task, completed=env_step, shown=_shown(last))
        self._progress.start()  # not sooner: messages of the set-up need no bar below them

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._progress.stop()


class _PlainLines:
    """A line for each evaluation and now and then, for a log file."""

    def __init__(self, total_steps: int, start_step: int) -> None:
        self._total = total_steps
        self._start = self._line_step = start_step
        self._started = self._line_time = time.monotonic()

    def update(self, env_step: int, last: Mapping[str, float], evaluated: bool) -> None:
        now = time.monotonic()
        moved = env_step - self._line_step
        due = moved >= PLAIN_FRACTION * self._total or now - self._line_time >= PLAIN_SECONDS
        ended = env_step >= self._total and moved > 0
        if not (evaluated or due or ended):
            return
        self._line_step, self._line_time = env_step, now
        done, left = env_step - self._start, self._total - env_step
        seconds = (now - self._started) / done * left if done else float("nan")
        share = f"{100 * env_step / self._total:.0f} %"
        parts = [f"{share:>5}  {env_step:,}/{self._total:,}", _shown(last), _duration(seconds)]
        self.message("  ".join(part for part in parts if part))

    def message(self, text: str) -> None:
        print(text, flush=True)

    def stop(self) -> None:
        pass


def _make_view(total_steps: int, start_step: int) -> _View:
    # rich alone would animate into a file when FORCE_COLOR is set, as it often is in CI.
    if sys.stdout.isatty() and Console().is_interactive:
        return _LiveLine(total_steps, start_step)
    return _PlainLines(total_steps, start_step)


def _shown(last: Mapping[str, float]) -> str:
    """Return the numbers of the table `SHOWN` that are known, for example 'return 9.5  eval 12'."""
    words = []
    for word, tags in SHOWN.items():
        found = next((tag for tag in tags if tag in last), None)
        if found is not None:
            words.append(f"{word} {last[found]:.4g}")
    return "  ".join(words)


def _duration(seconds: float) -> str:
    """Return the time left in words, nothing where it is unknown (NaN) or over."""
    if not seconds > 0:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} left"


def _hparam(value: object) -> float | str:
    """Return `value` as TensorBoard can show it; words as YAML writes them."""
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    return value if isinstance(value, int | float | str) else str(value)


def check_rows(path: Path, position: int) -> None:
    """Raise UserError where the metrics.csv at `path` does not reach up to `position`."""
    if position and (not path.exists() or path.stat().st_size < position):
        raise UserError(
            f"{path}: shorter than when the checkpoint was written, rows were lost; restore the "
            f"file, or start a new run with model_from={path.parent}"
        )


def _open_csv(path: Path, position: int) -> TextIO:
    """Open metrics.csv to go on after its first `position` bytes; a new one gets its header."""
    check_rows(path, position)
    file = path.open("a", newline="", encoding="utf-8")
    file.truncate(position)
    file.seek(0, os.SEEK_END)
    if position == 0:
        file.write(",".join(HEADER) + "\n")
        file.flush()
    return file
