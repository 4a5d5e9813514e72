"""Signals that ask a run to stop: Ctrl-C, kill, and a cluster's warning before its time limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mbrl_cli.errors import Stopped

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")


@contextmanager
def stopping() -> Iterator[None]:
    """Let those signals raise `Stopped` inside the block, once: what follows saves in peace.

    A handler that somebody else had installed (a launcher that puts its job back into the queue) is
    called after the block. Signals reach the main thread only; elsewhere the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in former:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup and the like
            former[number] = signal.signal(number, stop)
    asked: int | None = None
    try:
        yield
    except Stopped as stopped:
        asked = stopped.exit_code - 128
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if asked is not None:
            handler = former.get(asked)
            if callable(handler) and handler is not signal.default_int_handler:
                handler(asked, None)
