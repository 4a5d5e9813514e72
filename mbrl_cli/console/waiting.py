"""A live line with the seconds that a step before the run has taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mbrl_cli.console.live_text import LiveText


@contextmanager
def waiting(text: str | Callable[[], str]) -> Iterator[None]:
    """Show a text and the elapsed seconds inside the block, if standard output is a terminal.

    Args:
        text: the text, or a function that returns the present one.
    """
    if not LiveText.is_possible():
        yield
        return
    start = time.monotonic()

    def line(width: int) -> str:
        shown = text if isinstance(text, str) else text()
        return f"{shown}  {time.monotonic() - start:.0f} s"[:width]

    live = LiveText(line, hides_cursor=False)
    live.start()
    try:
        yield
    finally:
        live.stop(erase=True)
