"""Trackio."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from typing import Any

from mbrl_cli.trackers.base import TrackedRun, Tracker


class Trackio(Tracker):
    """Sends a run to Trackio's database on this machine.

    Args:
        project: to which the run is added.
    """

    name = "trackio"

    def __init__(self, project: str = "mbrl") -> None:
        self._project = project
        self._run: Any = None

    def start(self, run: TrackedRun) -> None:
        """Start or continue the run; trackio knows it by its name, so the name holds the id."""
        import trackio

        with contextlib.redirect_stdout(io.StringIO()):
            self._run = trackio.init(
                project=self._project, name=f"{run.name}-{run.run_id}", group=run.group,
                resume="allow", config=dict(run.settings), embed=False,
            )  # fmt: skip

    def log(self, env_step: int, values: Mapping[str, float]) -> None:
        """Send the finite values; the database has no others."""
        self._run.log({tag: v for tag, v in values.items() if math.isfinite(v)}, step=env_step)

    def finish(self, finished: bool) -> None:
        """Write what is left."""
        if self._run is not None:
            import trackio

            with contextlib.redirect_stdout(io.StringIO()):
                trackio.finish()
