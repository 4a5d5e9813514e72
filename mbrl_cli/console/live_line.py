"""Progress of a run as one live line on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.live_text import LiveText
from mbrl_cli.console.progress_line import progress_line
from mbrl_cli.console.run_progress import RunProgress


class LiveLine:
    """One line that is redrawn in place, also during long fits and evaluations.

    Args:
        name: of the job, empty if there is only one.
        job: the run's place in a sweep.
    """

    def __init__(self, name: str, job: JobInSweep | None = None) -> None:
        self._name = name
        self._job = job
        self._shown: tuple[RunProgress, Mapping[str, float]] | None = None
        self._text = LiveText(self._line)

    def start(self) -> bool:
        """Begin to draw, unless another process draws on this terminal; return whether it does."""
        return self._text.start()

    def update(
        self, progress: RunProgress, last: Mapping[str, float], evaluated: bool = False
    ) -> None:
        """Show this run; the values are copied, as another thread reads them."""
        self._shown = progress, dict(last)

    def message(self, text: str) -> None:
        """Print a line above the live one."""
        self._text.print(f"[{self._name}] {text}" if self._name else text)

    def stop(self, finished: bool) -> None:
        """Restore the terminal; the line of an unfinished run stays."""
        self._text.stop(erase=finished or self._shown is None)

    def _line(self, width: int) -> str:
        if self._shown is None:
            return "starting"
        progress, last = self._shown
        return progress_line(progress, last, width, self._name, self._job)
