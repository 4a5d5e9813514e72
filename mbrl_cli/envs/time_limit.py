"""A wall-clock limit for a call of an environment, whose code may swallow exceptions."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mbrl_cli.errors import EnvironmentFault, StopRequested
from mbrl_cli.signals import repeated_by, stop_requested

# An exception that the environment swallows is raised again after this time.
RETRY_SECONDS = 0.5
# After this many exceptions the process exits: the code in the block cannot be left.
MAX_ATTEMPTS = 20


class EnvTimeout(BaseException):
    """The block did not end in time; not an Exception, so `except Exception` does not catch it."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError inside the block after `seconds`; None: no limit.

    If the block swallows the exception, or the one of a stop signal, it is raised again every half
    second and when the block ends. If the block swallows all of them, the process exits with code
    3, or 128 + the signal's number; checkpoints on the disk stay as they are.

    It uses the process's interval timer (SIGALRM), so it works in the main thread of a POSIX system
    only, and only while the code returns to the Python interpreter. Elsewhere there is no limit.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "setitimer"):
        yield
        return
    attempts = 0

    def timeout() -> BaseException:
        text = f"did not return within env_timeout={seconds:g} seconds"
        return TimeoutError(text) if attempts <= 1 else EnvTimeout(text)

    def expired(number: int, frame: FrameType | None) -> None:
        nonlocal attempts
        attempts += 1
        stop_signal = stop_requested()
        if attempts > MAX_ATTEMPTS:
            _exit(stop_signal)
        raise timeout() if stop_signal is None else StopRequested(stop_signal)

    def repeat_stop() -> None:
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS, RETRY_SECONDS)

    previous = signal.signal(signal.SIGALRM, expired)
    if seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, seconds, RETRY_SECONDS)
    try:
        with repeated_by(repeat_stop):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    stop_signal = stop_requested()
    if stop_signal is not None:
        raise StopRequested(stop_signal)
    if attempts:
        raise timeout()


def _exit(stop_signal: int | None) -> None:
    """End the process at once, as code that catches every exception cannot be left otherwise."""
    code = EnvironmentFault.exit_code if stop_signal is None else 128 + stop_signal
    text = "mbrl: the environment catches every exception, so it cannot be stopped; exit\n"
    os.write(2, text.encode())
    os._exit(code)
