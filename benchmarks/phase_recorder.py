"""Record in which phase a forked run is, so that another process can kill it in a chosen phase."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mbrl_cli.stopwatch
from mbrl_cli.checkpoint_store import CheckpointStore
from mbrl_cli.runner import Runner

PHASES = ("other", "act", "fit", "eval", "write", "resume")
PHASE_OF_STOPWATCH = {"env": "act", "plan": "act", "fit": "fit", "eval": "eval", "save": "write"}


class Visit(NamedTuple):
    """One stay of a process in a phase."""

    phase: str
    seconds: float


class PhaseRecorder:
    """Shows the phase of a forked process in shared memory, and reports when it starts a phase."""

    def __init__(self) -> None:
        """Start with shared memory for the phase, and no target."""
        self.shared = mmap.mmap(-1, 1)
        self.visits: list[Visit] = []
        self.target: tuple[str, int] | None = None  # phase, and how many visits of it come before
        self.signal_end, self.log = -1, -1  # descriptors

    @contextlib.contextmanager
    def inside(self, phase: str) -> Iterator[None]:
        """Record that the process is in a phase; phases inside of it count as the outer one."""
        if self.shared[0]:
            yield
            return
        self.enter(phase)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.leave(phase, time.perf_counter() - start)

    def enter(self, phase: str) -> None:
        """Start a phase; tell the other process if it is the target."""
        self.shared[0] = PHASES.index(phase)
        if self.target is not None and self.target[0] == phase:
            self.target = (phase, self.target[1] - 1)
            if self.target[1] == -1:
                os.write(self.signal_end, b"x")

    def leave(self, phase: str, seconds: float) -> None:
        """End a phase."""
        self.shared[0] = 0
        os.write(self.log, f"{phase} {seconds!r}\n".encode())

    def phase(self) -> str:
        """Return the phase of the process, also after its death."""
        return PHASES[self.shared[0]]

    def install(self, log: Path, is_resume: bool) -> None:
        """Observe the run that this forked process starts next."""
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.shared[0] = 0
        real = mbrl_cli.stopwatch.Stopwatch.__call__

        @contextlib.contextmanager
        def observed(watch: Any, phase: str) -> Iterator[None]:
            with self.inside(PHASE_OF_STOPWATCH[phase]), real(watch, phase):
                yield

        mbrl_cli.stopwatch.Stopwatch.__call__ = observed
        finish, run = CheckpointStore.finish, Runner.run

        def observed_finish(*arguments: Any) -> None:
            with self.inside("write"):
                finish(*arguments)

        CheckpointStore.finish = observed_finish
        if is_resume:
            start = time.perf_counter()
            self.enter("resume")

            def observed_run(runner: Any) -> Any:
                self.leave("resume", time.perf_counter() - start)
                return run(runner)

            Runner.run = observed_run
