"""What every view of a run's progress can do, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

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


def make_console_view(folder_name: str, in_sweep: bool) -> ConsoleView:
    """Return the view that fits standard output.

    Args:
        folder_name: name of the run folder.
        in_sweep: whether other jobs print to the same output, so that each line needs the name.
    """
    name = folder_name if in_sweep else ""
    if not LiveText.is_possible():
        return PlainLines(name)
    live = LiveLine(name)
    return live if live.start() else PlainLines(folder_name, beside_live_line=True)
