"""Time measurement for the phases of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PHASES = ("env", "plan", "fit", "eval", "save")
# Tag of the mean duration of a phase that runs at every environment step.
MEAN_TAGS = {"env": "time/env_ms", "plan": "time/decision_ms", "fit": "time/update_ms"}


class Stopwatch:
    """Adds up the seconds that a run spends in each phase, and counts how often it was entered.

    Attributes:
        seconds: total of each phase, also from before the run was resumed.
        process_seconds: total of each phase in this process.
        calls: how often each phase was entered in this process.
        clock: returns the time in seconds.
        current: phase and start time of the block that runs now, or None. It is one object, so
            another thread reads a consistent pair.
        last_seconds: duration of the last block that ended.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.process_seconds = dict.fromkeys(PHASES, 0.0)
        self.calls = dict.fromkeys(PHASES, 0)
        self.clock = clock
        self.current: tuple[str, float] | None = None
        self.last_seconds = 0.0
        self._since_row = dict.fromkeys(MEAN_TAGS, (0.0, 0))  # seconds and times since the last row

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the duration of the `with` block to `phase`."""
        start = self.clock()
        self.current = phase, start
        try:
            yield
        finally:
            seconds = self.last_seconds = self.clock() - start
            self.current = None
            self.seconds[phase] += seconds
            self.process_seconds[phase] += seconds
            self.calls[phase] += 1
            if phase in self._since_row:
                before, times = self._since_row[phase]
                self._since_row[phase] = before + seconds, times + 1

    def metrics(self) -> dict[str, float]:
        """Return by tag the total seconds, and mean milliseconds since the previous call."""
        totals = {f"time/{phase}": seconds for phase, seconds in self.seconds.items()}
        means = {
            MEAN_TAGS[phase]: 1000.0 * seconds / times
            for phase, (seconds, times) in self._since_row.items()
            if times
        }
        self._since_row = dict.fromkeys(MEAN_TAGS, (0.0, 0))
        return totals | means
