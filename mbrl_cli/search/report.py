"""The table of trials, and the command that runs the best one."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence

import numpy as np

from mbrl_cli.reports.aggregates import mean
from mbrl_cli.reports.bootstrap import bootstrap_interval
from mbrl_cli.reports.text_table import text_table
from mbrl_cli.search.definition import Definition
from mbrl_cli.search.trial_record import TrialRecord

MAX_ROWS = 20
MAX_WIDTH = 10_000  # the terminal wraps long lines
HEADING = ("trial", "state", "steps", "return", "95 % interval", "steps used")


class Report:
    """Trials of a search, the best first.

    Trials are ordered by the steps that their runs have reached, then by their mean return there:
    returns after different numbers of steps are not compared.

    Args:
        definition: the search.
        records: its trials.
    """

    def __init__(self, definition: Definition, records: Sequence[TrialRecord]) -> None:
        self._definition = definition
        self.records = sorted(
            records,
            key=lambda r: (r.end == "failed", -r.reached, -r.mean(r.reached), r.number),
        )

    @property
    def best(self) -> TrialRecord | None:
        """Return the best complete trial, None if there is none."""
        return next((record for record in self.records if record.end == "complete"), None)

    def text(self) -> str:
        """Return the table and, below it, the best trial with its command."""
        definition, best = self._definition, self.best
        shown = self.records[:MAX_ROWS]
        lines = text_table([HEADING, *map(self._row, shown)], MAX_WIDTH, text_columns=(1,))
        values = ["values", *(_values(record) for record in shown)]
        lines = [f"{line}  {text}" for line, text in zip(lines, values, strict=True)]
        if len(shown) < len(self.records):
            lines.append(f"and {len(self.records) - len(shown)} more, see trials.csv")
        used = sum(record.steps for record in self.records)
        full = len(self.records) * len(definition.settings.seeds) * definition.rungs[-1]
        lines += ["", f"environment steps: {used:,}, all trials to the end: {full:,}"]
        failed = [record for record in self.records if record.end == "failed"]
        lines += [f"trial {record.number} failed: {record.reason}" for record in failed[:3]]
        if best is not None:
            lines += [f"best: trial {best.number}, return {_text(best)}", f"  {self.command(best)}"]
        else:
            lines.append("no trial has finished")
        return "\n".join(lines) + "\n"

    def command(self, record: TrialRecord) -> str:
        """Return the command that runs a trial again, on all its seeds."""
        seeds = self._definition.settings.seeds
        words = [*self._definition.run_words(record.values), f"seed={','.join(map(str, seeds))}"]
        if self._definition.config_dir is not None:
            words += ["--config-dir", str(self._definition.config_dir)]
        return shlex.join(["mbrl", "train", *(["-m"] if len(seeds) > 1 else []), *words])

    def csv(self) -> str:
        """Return all trials as CSV: one row each, with a column for each key and seed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        keys = [parameter.key for parameter in self._definition.space]
        seeds = self._definition.settings.seeds
        writer.writerow(
            ["trial", "state", "env_step", "mean_return", "low", "high", "steps_used", *keys]
            + [f"seed_{seed}" for seed in seeds]
            + ["reason"]
        )
        for record in self.records:
            low, high = _interval(record.returns(record.reached))
            results = record.results.get(record.reached, {})
            has_result = record.reached >= 0
            writer.writerow(
                [record.number, record.end or "running", self._reached(record)]
                + ([record.mean(record.reached), low, high] if has_result else ["", "", ""])
                + [record.steps, *(record.values[key] for key in keys)]
                + [results[seed].mean_return if seed in results else "" for seed in seeds]
                + [record.reason]
            )
        return text.getvalue()

    def _row(self, record: TrialRecord) -> tuple[str, ...]:
        returns = record.returns(record.reached)
        low, high = _interval(returns)
        return (
            str(record.number),
            record.end or "running",
            f"{self._reached(record):,}",
            f"{record.mean(record.reached):.4g}" if returns else "-",
            "-" if np.isnan(low) else f"{low:.4g} to {high:.4g}",
            f"{record.steps:,}",
        )

    def _reached(self, record: TrialRecord) -> int:
        """Return the environment steps of the highest rung with a result."""
        return 0 if record.reached < 0 else self._definition.rungs[record.reached]


def _interval(returns: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean over seeds; NaN for fewer than two."""
    if len(returns) < 2:
        return float("nan"), float("nan")
    interval = bootstrap_interval([np.asarray(returns)], mean, np.random.default_rng(0))
    return float(interval.low), float(interval.high)


def _values(record: TrialRecord) -> str:
    return " ".join(f"{key}={value}" for key, value in record.values.items())


def _text(record: TrialRecord) -> str:
    low, high = _interval(record.returns(record.reached))
    value = f"{record.mean(record.reached):.4g}"
    seeds = len(record.returns(record.reached))
    return value if np.isnan(low) else f"{value} [{low:.4g} to {high:.4g}] over {seeds} seeds"
