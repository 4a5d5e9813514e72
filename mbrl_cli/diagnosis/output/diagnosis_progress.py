"""Progress of a diagnosis as one live line, with the remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mbrl_cli.console.live_text import LiveText
from mbrl_cli.console.progress_line import GAP, duration

MEASURED = 0.03  # fraction from which the elapsed time gives an estimate


class DiagnosisProgress:
    """Shows what is done and the remaining time, if standard output is a terminal.

    It is a context manager, and the `report` of `diagnose`. The line is erased at the end.

    Args:
        name: of the run, where several are diagnosed; empty: it is not shown.
        clock: returns the time in seconds.
    """

    def __init__(self, name: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._start = clock()
        self._part, self._fraction = "loading", 0.0
        self._text: LiveText | None = None

    def __enter__(self) -> Self:
        if LiveText.is_possible():
            # Ctrl-C may end the process at once, and nothing would show the cursor again.
            self._text = LiveText(self.line, hides_cursor=False)
            self._text.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._text is not None:
            self._text.stop(erase=True)

    def __call__(self, part: str, fraction: float) -> None:
        """Show that `fraction` of the whole diagnosis is done; it never goes back.

        Args:
            part: what is done now.
            fraction: from 0 to 1.
        """
        self._part = part
        self._fraction = max(self._fraction, min(fraction, 1.0))

    def line(self, width: int) -> str:
        """Return the line, such as ` 40 %  substitution  0:00:36 left`."""
        elapsed = self._clock() - self._start
        left = "estimating"
        if self._fraction >= MEASURED:
            left = f"{duration(elapsed * (1.0 - self._fraction) / self._fraction)} left"
        parts = [self._name, f"{100 * self._fraction:3.0f} %", self._part, left]
        return GAP.join(part for part in parts if part)[:width]
