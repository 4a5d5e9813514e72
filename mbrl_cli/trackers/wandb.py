"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mbrl_cli.trackers.base import TrackedRun, Tracker


class Wandb(Tracker):
    """Sends a run to Weights & Biases, with environment steps on the horizontal axis.

    Args:
        project: to which the run is added.
        entity: user or team; None: the default one of the login.
    """

    name = "wandb"

    def __init__(self, project: str = "mbrl", entity: str | None = None) -> None:
        self._project = project
        self._entity = entity
        self._run: Any = None

    def start(self, run: TrackedRun) -> None:
        """Start or continue the run; its files are below the run folder."""
        import wandb

        self._run = wandb.init(
            project=self._project, entity=self._entity, name=run.name, group=run.group,
            id=run.run_id, resume="allow", dir=str(run.folder), config=dict(run.settings),
            settings=wandb.Settings(console="off", silent=True, disable_git=True),
        )  # fmt: skip
        self._run.define_metric("env_step", hidden=True)
        self._run.define_metric("*", step_metric="env_step")

    def log(self, env_step: int, values: Mapping[str, float]) -> None:
        """Send values; wandb's own step counts the calls."""
        self._run.log({"env_step": env_step, **values})

    def finish(self, finished: bool) -> None:
        """Write what is left; an exit code of 1 shows the run as crashed."""
        if self._run is not None:
            self._run.finish(exit_code=0 if finished else 1)
