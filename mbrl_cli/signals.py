"""Signals that stop a run: Ctrl-C, kill, a lost terminal, and a cluster's warning of its limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mbrl_cli.errors import StopRequested

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class _StopState:
    """State of the process's stop signals, which signal handlers and the run share."""

    requested: int | None = None  # the signal that asked the current run to stop
    # Called by the handler while code of an environment runs, which may swallow the exception.
    repeat: Callable[[], None] | None = None


_state = _StopState()


def stop_requested() -> int | None:
    """Return the number of the signal that asked the current run to stop, or None."""
    return _state.requested


def raise_if_stop_requested() -> None:
    """Raise `StopRequested` if a stop signal arrived, also if an environment swallowed it."""
    if _state.requested is not None:
        raise StopRequested(_state.requested)


def reraise_stop(error: BaseException) -> None:
    """Raise `error` again if Ctrl-C or a stop signal caused it, not the code that was called.

    While a run handles Ctrl-C itself, a KeyboardInterrupt without a signal comes from that code.
    """
    if isinstance(error, KeyboardInterrupt) and (
        isinstance(error, StopRequested)
        or _state.requested is not None
        or signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        raise error


@contextmanager
def repeated_by(repeat: Callable[[], None]) -> Iterator[None]:
    """Let a stop signal inside the block call `repeat`, which schedules its repetition."""
    _state.repeat = repeat
    try:
        yield
    finally:
        _state.repeat = None


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `StopRequested` inside the block when the first stop signal arrives.

    Code of an environment may swallow the exception, so `raise_if_stop_requested` raises it again.
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
        _state.requested = number
        if _state.repeat is not None:
            _state.repeat()
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
        _state.requested = None
        for number, handler in previous.items():
            signal.signal(number, handler)
        if received is not None:
            handler = previous.get(received)
            if callable(handler) and handler is not signal.default_int_handler:
                handler(received, None)


@contextmanager
def ctrl_c_ends_the_process() -> Iterator[None]:
    """Let Ctrl-C end the process inside the block at once and silently, as SIGTERM does.

    By default Python raises KeyboardInterrupt, which the import of a large package can catch or
    report as a failed import. `stop_on_signals` takes precedence inside the block.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
