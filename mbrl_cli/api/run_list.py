"""The runs that were found in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbrl_cli.api.run import Run
from mbrl_cli.config.config_changes import flatten
from mbrl_cli.errors import UserError, unknown_key

if TYPE_CHECKING:
    import pandas


class RunList(list[Run]):
    """A list of runs, sorted by the paths of their folders.

    Attributes:
        skipped: folder -> reason, for each folder that has a config.yaml and is no readable run.
    """

    def __init__(self, runs: Iterable[Run] = (), skipped: dict[Path, str] | None = None) -> None:
        super().__init__(runs)
        self.skipped = skipped or {}

    def frame(self, keys: Sequence[str] = ()) -> pandas.DataFrame:
        """Return a DataFrame with one row for each run.

        The columns are those of `RunSummary`: folder, state, env, model, planner, agent, seed,
        steps, total_steps, last_return, age, size and tags.

        Args:
            keys: keys of the config that become columns, too, such as `["planner.horizon"]`; a run
                that lacks a key has None.

        Raises:
            UserError: if pandas is not installed, or no run has a key.
        """
        from mbrl_cli.api.frames import require_pandas

        rows = [
            dataclasses.asdict(run.summary()) | settings
            for run, settings in zip(self, self._settings(keys), strict=True)
        ]
        return require_pandas().DataFrame(rows)

    def metrics_frame(
        self, tags: Sequence[str] | None = None, keys: Sequence[str] = ()
    ) -> pandas.DataFrame:
        """Return what all runs logged as a DataFrame with one row for each number.

        The columns are run (the name of its folder), env, model, planner, agent, seed, the keys,
        env_step, tag and value.

        Args:
            tags: the tags to read, which is faster than reading all; None: all.
            keys: keys of the config that become columns, too.

        Raises:
            UserError: if pandas is not installed, no run has a key, or a metrics.csv is damaged.
        """
        from mbrl_cli.api.frames import metrics_frame

        labels = [
            {"run": run.name, **run.choices, "seed": run.seed, **settings}
            for run, settings in zip(self, self._settings(keys), strict=True)
        ]
        return metrics_frame([run.metrics(tags) for run in self], labels)

    def _settings(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Return for each run the values of the keys of its config."""
        flat = [flatten(run.config) for run in self]
        for key in keys:
            if not any(key in settings for settings in flat):
                allowed = sorted({name for settings in flat for name in settings})
                raise UserError(f"no run has this key: {unknown_key(key, key, allowed)}")
        return [{key: settings.get(key) for key in keys} for settings in flat]
