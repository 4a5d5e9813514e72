"""Time measurement for the phases of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = ("env", "plan", "fit", "eval", "save")


class Stopwatch:
    """Adds up the seconds that a run spends in each phase."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the duration of the `with` block to `phase`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start

    def metrics(self) -> dict[str, float]:
        """Return the total seconds of each phase by tag, `time/...`."""
        return {f"time/{phase}": seconds for phase, seconds in self.seconds.items()}
