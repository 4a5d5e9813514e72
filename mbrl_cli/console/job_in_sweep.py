"""The place of a run among the jobs of a sweep, and the remaining time of all jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

from mbrl_cli.console.run_progress import RunProgress


class JobInSweep:
    """Number of a job, and an estimate of the time until all jobs have finished.

    The jobs that wait are assumed to take as long as those that this process has finished, or
    before that as long as this one.

    Args:
        name: of the job's folder.
        number: of the job, from 1 on; 0: unknown.
        total: number of jobs.
        saved_steps: for each job that starts after this one, the step from which it continues;
            None: other machines run them, so their order is unknown.
        parallel: number of jobs that run at a time.
        full_seconds: mean duration of a complete job; None: none has finished.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        name: str,
        number: int = 0,
        total: int = 0,
        saved_steps: list[int] | None = None,
        parallel: int = 1,
        full_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = f"{number}/{total} {name}" if number else name
        self._saved_steps = saved_steps or []
        self._parallel = parallel
        self._full_seconds = full_seconds
        self._clock = clock
        self._start: tuple[float, int] | None = None  # time, step

    def seconds_of_all(self, progress: RunProgress) -> float | None:
        """Return the remaining time of all jobs; None if it is unknown or only this one is left."""
        now, step = self._clock(), progress.env_step
        if self._start is None:
            self._start = now, step
        own = progress.seconds_left()
        if own is None or not self._saved_steps:
            return None
        start_time, start_step = self._start
        total = progress.total_steps
        full = self._full_seconds
        if full is None:
            full = (now - start_time + own) * total / max(1, total - start_step)
        waiting = sum(1 - min(saved, total) / total for saved in self._saved_steps)
        return own + full * waiting / self._parallel
