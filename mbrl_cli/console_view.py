"""Progress of a run on the console: one live line in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

# Label on the console -> tags whose last value it may show; the first tag that was logged is used.
SHOWN_TAGS = {
    "return": ("train/return",),
    "eval": ("eval/return",),
    "loss": ("model/holdout_loss", "model/train_loss"),
}
# Plain lines: print one after this fraction of the run or after this many seconds.
PLAIN_FRACTION = 0.1
PLAIN_SECONDS = 30.0


class ConsoleView(Protocol):
    """Shows the progress of a run."""

    def update(self, env_step: int, last: Mapping[str, float], evaluated: bool) -> None:
        """Show the step and the last value of each tag.

        `evaluated` says whether an evaluation was logged since the previous call.
        """
        ...

    def message(self, text: str) -> None:
        """Print a line of text."""
        ...

    def stop(self) -> None:
        """Restore the terminal."""
        ...


def make_console_view(total_steps: int, start_step: int) -> ConsoleView:
    """Return the view that fits standard output."""
    # rich alone would animate into a file when FORCE_COLOR is set, as it often is in CI.
    if sys.stdout.isatty() and Console().is_interactive:
        return _LiveLine(total_steps, start_step)
    return _PlainLines(total_steps, start_step)


class _LiveLine:
    """One line that is redrawn in place, for a terminal."""

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
        self._progress.start()  # here, so that no bar stands below the messages of the set-up

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        self._progress.stop()


class _PlainLines:
    """A line after each evaluation and at regular intervals, for a log file or a pipe."""

    def __init__(self, total_steps: int, start_step: int) -> None:
        self._total_steps = total_steps
        self._start_step = self._line_step = start_step
        self._start_time = self._line_time = time.monotonic()

    def update(self, env_step: int, last: Mapping[str, float], evaluated: bool) -> None:
        now = time.monotonic()
        steps = env_step - self._line_step
        due = steps >= PLAIN_FRACTION * self._total_steps or now - self._line_time >= PLAIN_SECONDS
        finished = env_step >= self._total_steps and steps > 0
        if not (evaluated or due or finished):
            return
        self._line_step, self._line_time = env_step, now
        done, left = env_step - self._start_step, self._total_steps - env_step
        seconds_left = (now - self._start_time) / done * left if done else float("nan")
        percent = f"{100 * env_step / self._total_steps:.0f} %"
        progress = f"{percent:>5}  {env_step:,}/{self._total_steps:,}"
        parts = [progress, _shown(last), _duration(seconds_left)]
        self.message("  ".join(part for part in parts if part))

    def message(self, text: str) -> None:
        print(text, flush=True)

    def stop(self) -> None:
        """No terminal state to restore."""


def _shown(last: Mapping[str, float]) -> str:
    """Return the values of `SHOWN_TAGS` that were logged, for example 'return 9.5  eval 12'."""
    parts = []
    for label, tags in SHOWN_TAGS.items():
        tag = next((tag for tag in tags if tag in last), None)
        if tag is not None:
            parts.append(f"{label} {last[tag]:.4g}")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    """Return the remaining time as text; empty if it is unknown (NaN) or zero."""
    if not seconds > 0:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} left"
