"""The runs that were found in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mbrl_cli.api.run import Run


class RunList(list[Run]):
    """A list of runs, sorted by the paths of their folders.

    Attributes:
        skipped: folder -> reason, for each folder that has a config.yaml and is no readable run.
    """

    def __init__(self, runs: Iterable[Run] = (), skipped: dict[Path, str] | None = None) -> None:
        super().__init__(runs)
        self.skipped = skipped or {}
