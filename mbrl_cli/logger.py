"""One run's numbers -> TensorBoard, metrics.csv and a live console line. It knows tags, not agents.

metrics.csv holds every value in full; TensorBoard's reader keeps float32 and 10,000 points a tag,
so reports read the CSV.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

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

    A run that goes on (`start_step` > 0) first drops what it had logged after that step, so the CSV
    of a run that was cut equals that of one that was not. For that, call `flush` before a
    checkpoint is saved.
    """

    def __init__(
        self, folder: Path, total_steps: int, console: bool = True, start_step: int = 0
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # seconds; nobody pays for `--help`

        folder.mkdir(parents=True, exist_ok=True)
        _drop_rows_after(folder / METRICS, start_step)
        self._csv = (folder / METRICS).open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._csv, lineterminator="\n")  # writes floats with repr
        self._events = SummaryWriter(
            str(folder), purge_step=start_step + 1 if start_step else None, flush_secs=10
        )
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
        """Record the run's settings for TensorBoard's HPARAMS tab; call once, at the start."""
        from torch.utils.tensorboard.summary import hparams

        # The experiment record is left out: with several different ones in a log folder the tab
        # hides the metrics of all runs but the first; with none it shows the union.
        settings = {key: _hparam(value) for key, value in flat.items()}
        _, start, self._success = hparams(settings, {})  # type: ignore[no-untyped-call]
        self._write_summary(start)

    def scalars(self, env_step: int, values: Mapping[str, float]) -> None:
        """Record `values`, tag -> number, at `env_step`; NaN and infinities are recorded too."""
        for tag, number in values.items():
            value = float(number)
            self._rows.writerow((env_step, tag, value))
            self._events.add_scalar(tag, value, env_step)
            self._last[tag] = value
        self._csv.flush()  # one write a call: a run that is killed loses no row
        self._evaluated |= "eval/return" in values

    def progress(self, env_step: int) -> None:
        """Show how far the run is; cheap enough for every step."""
        if self._view is not None:
            self._view.update(env_step, self._last, self._evaluated)
            self._evaluated = False

    def message(self, text: str) -> None:
        """Print a line of text above the live line."""
        if self._view is not None:
            self._view.message(text)

    def flush(self) -> None:
        """Hand everything logged so far to the operating system."""
        self._csv.flush()
        self._events.flush()

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
            self._write_summary(self._success)
        self._events.close()
        self._csv.close()

    def _write_summary(self, summary: Any) -> None:
        self._events._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]


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


def _drop_rows_after(path: Path, env_step: int) -> None:
    """Leave at `path` the header and the whole rows up to `env_step`, whatever was there before."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    kept = [
        line
        for line in lines[1:]
        if line.endswith("\n") and int(line.partition(",")[0]) <= env_step  # a cut may split a row
    ]
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text("".join([",".join(HEADER) + "\n", *kept]), encoding="utf-8", newline="")
    unfinished.replace(path)
