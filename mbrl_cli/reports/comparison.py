"""The numbers of a comparison of groups of runs, as every output of `mbrl compare` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mbrl_cli.config.fork_record import Origin
from mbrl_cli.reports.baseline import Baseline
from mbrl_cli.reports.bootstrap import Interval
from mbrl_cli.reports.curves import Curve
from mbrl_cli.reports.improvement import Improvement
from mbrl_cli.reports.return_bounds import Bounds


@dataclass(frozen=True)
class RunRecord:
    """What a comparison needs of one run."""

    folder: Path
    env: str
    group: str
    seed: int
    state: str
    steps: int  # environment steps that the run has taken
    curve: Curve  # of the metric
    seconds: Curve | None  # total seconds, as far as the run logged times
    command: str  # that starts the same run
    commit: str
    origins: Sequence[Origin] = ()  # of a fork: the runs that it shares its past with
    drawn_from: int = 0  # first point of the curve that is drawn; those before are of another run


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval; the interval is NaN if there is one run."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class TimeToThreshold:
    """When the runs of a group reached a value; medians over all runs, None if most did not."""

    reached: int  # runs
    runs: int
    steps: float | None
    minutes: float | None


@dataclass(frozen=True)
class GroupResult:
    """The results of one group in one environment, or of several as normalized scores."""

    name: str
    runs: Sequence[RunRecord]
    final: np.ndarray  # [runs]
    mean: Estimate
    median: Estimate
    iqm: Estimate
    gap: Estimate | None  # optimality gap, if the bounds are known
    threshold: TimeToThreshold | None
    grid: np.ndarray  # [T] steps of the curve
    curve: np.ndarray  # [T] mean
    band: Interval  # [T]

    @property
    def last_steps(self) -> tuple[int, int]:
        """Return the lowest and the highest step at which the final values were logged."""
        steps = [int(run.curve.steps[-1]) for run in self.runs]
        return min(steps), max(steps)


@dataclass(frozen=True)
class PairResult:
    """The comparison of two groups."""

    first: str
    second: str
    difference: Estimate  # mean of the first minus mean of the second
    improvement: Improvement  # probability that a run of the first is better
    paired: bool  # whether the difference is taken between runs with equal seeds
    conclusion: str
    conclusive: bool


@dataclass(frozen=True)
class Threshold:
    """A value of the metric, and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Section:
    """All groups in one environment, or their normalized scores over several."""

    title: str
    groups: Sequence[GroupResult]  # best first
    pairs: Sequence[PairResult]
    bounds: Bounds | None = None
    threshold: Threshold | None = None
    baselines: Sequence[Baseline] = ()
    action_repeat: int = 1
    notes: Sequence[str] = ()
    is_overall: bool = False

    def compared(self) -> tuple[str, list[str]]:
        """Return a heading for the pairs, and a name for each of them.

        The group that all pairs have in common is in the heading only.
        """
        firsts = [pair.first for pair in self.pairs]
        seconds = [pair.second for pair in self.pairs]
        if len(set(firsts)) == 1:
            return f"{firsts[0]} compared with", seconds
        return f"compared with {seconds[0]}", firsts


@dataclass(frozen=True)
class Comparison:
    """A whole report."""

    metric: str
    meaning: str  # one sentence; empty for a tag of a plug-in
    unit: str
    lower_is_better: bool
    sections: Sequence[Section]
    notes: Sequence[str] = ()  # what was left out, and why
    differing: dict[str, list[str]] = field(default_factory=dict)  # key -> values

    @property
    def label(self) -> str:
        """Return the metric with its unit, for an axis."""
        return f"{self.metric} ({self.unit})" if self.unit else self.metric

    @property
    def runs(self) -> list[RunRecord]:
        """Return the runs of all environments."""
        return [
            run
            for section in self.sections
            if not section.is_overall
            for group in section.groups
            for run in group.runs
        ]
