"""One line of text on a terminal that is redrawn in place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

REDRAWS_PER_SECOND = 4


class LiveText:
    """Draws the line of a function again and again, in a thread of its own.

    The function is called in that thread. Text that is printed meanwhile stands above the line.
    One process at a time draws on a terminal: two would overwrite each other's lines.

    Args:
        line: maps the number of columns to the text.
        hides_cursor: false where Ctrl-C ends the process at once, so that nothing would show the
            cursor again.
    """

    def __init__(self, line: Callable[[int], str], hides_cursor: bool = True) -> None:
        self._line = line
        self._hides_cursor = hides_cursor
        self._console = Console(highlight=False)
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=REDRAWS_PER_SECOND,
        )
        self._claim: int | None = None  # descriptor whose lock other processes see

    @staticmethod
    def is_possible() -> bool:
        """Return whether standard output is a terminal that can redraw a line."""
        # rich alone would animate into a file when FORCE_COLOR is set, as it often is in CI.
        return sys.stdout.isatty() and Console().is_interactive

    def start(self) -> bool:
        """Begin to draw, unless another process draws on this terminal; return whether it does."""
        if not self._has_claimed():
            return False
        self._live.start(refresh=True)
        if not self._hides_cursor:
            self._console.show_cursor(True)
        return True

    def print(self, text: str) -> None:
        """Print a line above the live one."""
        self._console.print(text, markup=False, soft_wrap=True)

    def stop(self, erase: bool) -> None:
        """Restore the terminal; the last line stays unless it is erased."""
        if self._live.is_started:
            self._live.transient = erase
            self._live.stop()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _render(self) -> Text:
        # The last column stays empty: some terminals wrap after it.
        return Text(self._line(self._console.width - 1), no_wrap=True, overflow="crop")

    def _has_claimed(self) -> bool:
        """Lock the terminal; return whether no other process has locked it.

        A terminal that has no name or cannot be locked counts as free.
        """
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            name = os.ttyname(sys.stdout.fileno())
            descriptor = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._claim = descriptor
        return True
