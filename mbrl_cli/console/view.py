"""What every view of a run's progress can do, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.live_line import LiveLine
from mbrl_cli.console.live_text import LiveText
from mbrl_cli.console.plain_lines import PlainLines
from mbrl_cli.console.run_progress import RunProgress


class ConsoleView(Protocol):
    """Shows the progress of a run."""

    def update(
        self, progress: RunProgress, last: Mapping[str, float], evaluated: bool = False
    ) -> None:
        """Show the progress and the last value of each tag.

        `evaluated` says whether an evaluation was logged since the previous call.
        """
        ...

    def message(self, text: str) -> None:
        """Print a line of text."""
        ...

    def stop(self, finished: bool) -> None:
        """Restore the terminal."""
        ...


def make_console_view(folder_name: str, job: JobInSweep | None = None) -> ConsoleView:
    """Return the view that fits standard output.

    Args:
        folder_name: name of the run folder.
        job: the run's place in a sweep, whose other jobs may print to the same output.
    """
    name = "" if job is None else job.label
    if not LiveText.is_possible():
        return PlainLines(name, job=job)
    live = LiveLine(name, job)
    return live if live.start() else PlainLines(name or folder_name, beside_live_line=True, job=job)
