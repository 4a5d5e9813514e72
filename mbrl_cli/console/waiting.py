"""A live line with the seconds that a step before the run has taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from mbrl_cli.console.live_text import LiveText


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show `text` and the elapsed seconds inside the block, if standard output is a terminal."""
    if not LiveText.is_possible():
        yield
        return
    start = time.monotonic()

    def line(width: int) -> str:
        return f"{text}  {time.monotonic() - start:.0f} s"[:width]

    live = LiveText(line, hides_cursor=False)
    live.start()
    try:
        yield
    finally:
        live.stop(erase=True)
