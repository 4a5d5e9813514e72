"""Progress of a run as plain lines, for a log file, a pipe or a shared terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping

from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.progress_line import progress_line
from mbrl_cli.console.run_progress import RunProgress

# Print a line after this fraction of the run or after this many seconds.
FRACTION = 0.1
SECONDS = 30.0
# The same where a person waits in front of a terminal that cannot redraw a line.
TERMINAL_SECONDS = 4.0
UNLIMITED = 1000  # characters of a line in a file or a pipe
MIN_WIDTH = 30  # characters that are printed after a long name, even if the line then wraps
CLEAR_LINE = "\r\x1b[K"


class PlainLines:
    """A line after each evaluation, at each new phase and at regular intervals.

    Args:
        name: of the job, empty if there is only one.
        beside_live_line: whether another process draws a live line on this terminal, which must be
            cleared before a line is printed.
        clock: returns the time in seconds.
        job: the run's place in a sweep.
    """

    def __init__(
        self,
        name: str,
        beside_live_line: bool = False,
        clock: Callable[[], float] = time.monotonic,
        job: JobInSweep | None = None,
    ) -> None:
        self._job = job
        self._name = f"[{name}] " if name else ""
        self._clear = CLEAR_LINE if beside_live_line else ""
        self._is_terminal = sys.stdout.isatty()
        waits = self._is_terminal and not beside_live_line
        self._seconds = TERMINAL_SECONDS if waits else SECONDS
        self._clock = clock
        self._line_step: int | None = None
        self._line_time = clock()
        self._was_prefill = False

    def update(
        self, progress: RunProgress, last: Mapping[str, float], evaluated: bool = False
    ) -> None:
        """Print a line if one is due."""
        step, total = progress.env_step, progress.total_steps
        if self._line_step is None:
            self._line_step = step
        now = self._clock()
        prefill_ends = self._was_prefill and not progress.is_prefill
        self._was_prefill = progress.is_prefill
        is_last = step >= total and self._line_step < total
        due = step - self._line_step >= FRACTION * total or now - self._line_time >= self._seconds
        if not (evaluated or prefill_ends or due or is_last):
            return
        self._line_step, self._line_time = step, now
        self.message(progress_line(progress, last, self._width(), job=self._job))

    def message(self, text: str) -> None:
        """Print a line in one piece, so that those of parallel jobs do not mix."""
        sys.stdout.write(f"{self._clear}{self._name}{text}\n")
        sys.stdout.flush()

    def stop(self, finished: bool) -> None:
        """No terminal state to restore."""

    def _width(self) -> int:
        """Return the number of characters for the text of a line."""
        columns = shutil.get_terminal_size().columns if self._is_terminal else UNLIMITED
        return max(MIN_WIDTH, columns - len(self._name))
