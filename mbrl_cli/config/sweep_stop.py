"""Stop signals while the jobs of a sweep run in worker processes of this machine.

Every worker that runs a job saves its state, as a single run does. The process that started the
workers waits for them: joblib would kill them if it raised an exception.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from hydra.core.hydra_config import HydraConfig

from mbrl_cli.errors import StopRequested
from mbrl_cli.signals import STOP_SIGNALS

JOBLIB = "JoblibLauncher"


class _StopState:
    """State of this process, which signal handlers share with the code of the sweep."""

    main_process: int | None = None  # id of the process that started the sweep, in that process
    signal_number: int | None = None
    starts_no_job: bool = False


_state = _StopState()


class JobsUntilStop(list[Sequence[str]]):
    """Words of jobs. Iteration ends at a stop signal or a full disk, so no further job starts."""

    def __iter__(self) -> Iterator[Sequence[str]]:
        _state.starts_no_job = False
        for job in super().__iter__():
            if _state.signal_number is not None or _state.starts_no_job:
                return
            yield job


def start_no_further_job() -> None:
    """Let the sweep of this process end after the present job."""
    _state.starts_no_job = True


def is_worker() -> bool:
    """Return whether joblib started this process to run jobs."""
    launcher = str(HydraConfig.get().launcher._target_)
    return launcher.endswith(JOBLIB) and _state.main_process != os.getpid()


def stop_signal_of_worker() -> int | None:
    """Return the signal that asked this worker process to stop, None if there was none.

    From the first call on, stop signals between two jobs no longer end the worker.
    """
    for number in _numbers():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _note)
    return _state.signal_number


@contextmanager
def stop_after_workers() -> Iterator[None]:
    """Pass the first stop signal on to the workers; raise StopRequested after the block.

    A second signal raises it at once.
    """
    _state.main_process = os.getpid()
    before = {number: signal.getsignal(number) for number in _numbers()}

    def stop(number: int, frame: FrameType | None) -> None:
        if _state.signal_number is not None:
            raise StopRequested(number)
        _note(number, frame)
        print(
            "mbrl: the running jobs save their state; to end them at once repeat the signal",
            file=sys.stderr,
        )
        for worker in multiprocessing.active_children():
            if worker.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except Exception as error:  # a worker that had not begun its first job ends at the signal
        if _state.signal_number is None:
            raise
        raise StopRequested(_state.signal_number) from error
    else:
        if _state.signal_number is not None:
            raise StopRequested(_state.signal_number)
    finally:
        _state.signal_number = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _note(number: int, frame: FrameType | None) -> None:
    _state.signal_number = number


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
