"""Signals that stop a run: Ctrl-C, kill, and a cluster's warning before its time limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mbrl_cli.errors import StopRequested

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `StopRequested` inside the block when the first stop signal arrives.

    Later stop signals are ignored, so that they do not interrupt the saving of the run. If another
    handler was installed before (for example that of a launcher which requeues its job), it is
    called after the block. Python delivers signals to the main thread only; in other threads this
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {}  # signal number -> handler before the block

    def stop(number: int, frame: FrameType | None) -> None:
        for stop_signal in previous:
            signal.signal(stop_signal, signal.SIG_IGN)
        raise StopRequested(number)

    for number in [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, for example, ignores a signal
            previous[number] = signal.signal(number, stop)
    received: int | None = None
    try:
        yield
    except StopRequested as stopped:
        received = stopped.signal_number
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if received is not None:
            handler = previous.get(received)
            if callable(handler) and handler is not signal.default_int_handler:
                handler(received, None)
