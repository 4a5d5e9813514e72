"""The contract of trackers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker shows about a run besides its curves."""

    name: str  # name of the run folder
    group: str | None  # name of the sweep's folder
    folder: Path
    settings: Mapping[str, Any]  # the choices by name, then all values of the config by key
    run_id: str  # the same in all parts of an interrupted run


class Tracker(ABC):
    """Sends the scalars of one run to a tracker.

    Attributes:
        name: the choice of the group `logger`, the package's name and that of mbrl's extra.
    """

    name: ClassVar[str]

    @abstractmethod
    def start(self, run: TrackedRun) -> None:
        """Start the run, or continue the one with the same `run_id`."""

    @abstractmethod
    def log(self, env_step: int, values: Mapping[str, float]) -> None:
        """Send values by tag."""

    @abstractmethod
    def finish(self, finished: bool) -> None:
        """End this part of the run; `finished` is false if it was interrupted or failed."""
