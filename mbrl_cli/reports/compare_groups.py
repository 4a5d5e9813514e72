"""Compute a comparison from the curves of its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mbrl_cli.errors import UserError
from mbrl_cli.reports import aggregates
from mbrl_cli.reports.bootstrap import Interval, bootstrap_interval
from mbrl_cli.reports.comparison import (
    Estimate,
    GroupResult,
    PairResult,
    RunRecord,
    Section,
    Threshold,
    TimeToThreshold,
)
from mbrl_cli.reports.curves import align, first_step_at, value_at
from mbrl_cli.reports.improvement import probability_of_improvement
from mbrl_cli.reports.return_bounds import Bounds
from mbrl_cli.reports.shared_past import draw_shared_past_once, drawn_curve

MIN_SEEDS = 5  # runs of each group; fewer are too few for a conclusion
SEED = 0  # of the bootstrap: the same runs give the same intervals


def compare_environment(
    title: str,
    groups: Mapping[str, Sequence[RunRecord]],
    bounds: Bounds | None,
    threshold: Threshold | None,
    lower_is_better: bool,
    reference: str | None = None,
    at: float | None = None,
) -> Section:
    """Compare groups of runs in one environment.

    Args:
        title: the environment's id.
        groups: the runs of each group.
        bounds: lowest and highest possible values of the metric, if they are known.
        threshold: the value whose time is measured.
        lower_is_better: whether small values of the metric are good.
        reference: the group that the others are compared with; None, or without runs: the best one.
        at: the step whose values are compared; None: the last of each run.
    """
    finals: dict[str, list[np.ndarray]] = {}
    results = []
    seeds: dict[str, list[list[int]]] = {}
    groups, notes = draw_shared_past_once(groups)
    for name, all_runs in groups.items():
        values = {run.folder: value_at(run.curve, at) for run in all_runs}
        runs = [run for run in all_runs if values[run.folder] is not None]
        final = np.array([values[run.folder] for run in runs], dtype=np.float64)
        if len(runs) < len(all_runs):
            missing = len(all_runs) - len(runs)
            notes.append(f"at={at:g}: left out {missing} runs of {name} without values around it")
        if not runs:
            continue
        finals[name], seeds[name] = [final], [[run.seed for run in runs]]
        results.append(_group(name, runs, [final], bounds, threshold, lower_is_better))
    if not results:
        raise UserError(f"at={at:g}: no run in {title} has values before and after this step")
    results = _best_first(results, lower_is_better)
    pairs = _pairs(results, finals, seeds, lower_is_better, reference)
    notes += _notes(results, at)
    return Section(title, results, pairs, bounds, threshold, notes=notes)


def compare_scores(
    sections: Sequence[Section], lower_is_better: bool, reference: str | None = None
) -> Section:
    """Compare the normalized scores of the groups that have runs in all of these environments.

    A score is 0 at the lowest return of the environment, and 1 at its highest.
    """
    counts = Counter(group.name for section in sections for group in section.groups)
    names = [name for name, count in counts.items() if count == len(sections)]
    others = sorted(counts.keys() - set(names))
    notes = [f"left out {name}: it has no runs in some of them" for name in others]
    finals, seeds, results = {}, {}, []
    for name in names:
        members = [
            next(group for group in section.groups if group.name == name) for section in sections
        ]
        scores = [
            _score(group.final, section.bounds)
            for group, section in zip(members, sections, strict=True)
        ]
        finals[name] = scores
        seeds[name] = [[run.seed for run in group.runs] for group in members]
        runs = [run for group in members for run in group.runs]
        results.append(_group(name, runs, scores, Bounds(0.0, 1.0), None, lower_is_better))
    results = _best_first(results, lower_is_better)
    pairs = _pairs(results, finals, seeds, lower_is_better, reference)
    title = f"Normalized scores over {len(sections)} environments"
    return Section(title, results, pairs, Bounds(0.0, 1.0), notes=notes, is_overall=True)


def _group(
    name: str,
    runs: Sequence[RunRecord],
    final: list[np.ndarray],
    bounds: Bounds | None,
    threshold: Threshold | None,
    lower_is_better: bool,
) -> GroupResult:
    """Return the statistics of one group; `final` has an array [runs] for each environment."""
    gap = None
    if bounds is not None and not lower_is_better:
        scores = [_score(values, bounds) for values in final]
        gap = _estimate(scores, aggregates.optimality_gap, Bounds(0.0, 1.0))
    if len(final) == 1:
        grid, values = align([drawn_curve(run) for run in runs])
    else:
        grid, values = np.empty(0), np.empty((0, len(runs)))  # scores have no curve
    band = Interval(np.empty(0), np.empty(0))
    if len(grid):
        band = _clipped(
            bootstrap_interval([values], aggregates.mean, np.random.default_rng(SEED)), bounds
        )
    return GroupResult(
        name=name,
        runs=runs,
        final=np.concatenate(final),
        mean=_estimate(final, aggregates.mean, bounds),
        median=_estimate(final, aggregates.median, bounds),
        iqm=_estimate(final, aggregates.iqm, bounds),
        gap=gap,
        threshold=None
        if threshold is None
        else _time_to_threshold(runs, threshold.value, lower_is_better),
        grid=grid,
        curve=values.mean(-1),
        band=band,
    )


def _estimate(
    strata: Sequence[np.ndarray], statistic: aggregates.Aggregate, bounds: Bounds | None = None
) -> Estimate:
    interval = bootstrap_interval(strata, statistic, np.random.default_rng(SEED))
    low, high = _clipped(interval, bounds)
    return Estimate(float(statistic(strata)), float(low), float(high))


def _clipped(interval: Interval, bounds: Bounds | None) -> Interval:
    """Return the part of an interval that is possible."""
    return interval if bounds is None else Interval(*(np.clip(end, *bounds) for end in interval))


def _score(values: np.ndarray, bounds: Bounds | None) -> np.ndarray:
    assert bounds is not None
    return (values - bounds.low) / (bounds.high - bounds.low)


def _time_to_threshold(
    runs: Sequence[RunRecord], value: float, lower_is_better: bool
) -> TimeToThreshold:
    steps, minutes = [], []
    for run in runs:
        step = first_step_at(run.curve, value, lower_is_better)
        steps.append(np.inf if step is None else step)
        if step is None:
            minutes.append(np.inf)
        elif run.seconds is not None and len(run.seconds.steps):
            # Times are logged at other steps than evaluations; before the first row they are
            # proportional to the steps.
            logged = np.r_[0.0, run.seconds.steps], np.r_[0.0, run.seconds.values]
            minutes.append(float(np.interp(step, *logged)) / 60.0)
        else:
            minutes.append(np.nan)
    return TimeToThreshold(
        reached=int(np.isfinite(steps).sum()),
        runs=len(runs),
        steps=_finite_median(steps),
        minutes=_finite_median(minutes),
    )


def _finite_median(values: Sequence[float]) -> float | None:
    """Return the median, None if it is infinite or a value is not known."""
    ordered = np.sort(values)
    middle = ordered[[(len(ordered) - 1) // 2, len(ordered) // 2]]
    return (
        float(middle.mean()) if np.isfinite(middle).all() and not np.isnan(values).any() else None
    )


def _best_first(results: list[GroupResult], lower_is_better: bool) -> list[GroupResult]:
    sign = 1.0 if lower_is_better else -1.0
    return sorted(results, key=lambda group: (sign * group.mean.value, group.name))


def _pairs(
    results: Sequence[GroupResult],
    finals: Mapping[str, list[np.ndarray]],
    seeds: Mapping[str, list[list[int]]],
    lower_is_better: bool,
    reference: str | None,
) -> list[PairResult]:
    """Compare every group with the reference; without its runs, the best with every other."""
    names = [group.name for group in results]
    if reference in names:
        chosen = [(name, reference) for name in names if name != reference]
    else:
        chosen = [(names[0], name) for name in names[1:]]
    return [_pair(first, second, finals, seeds, lower_is_better) for first, second in chosen]


def _pair(
    first: str,
    second: str,
    finals: Mapping[str, list[np.ndarray]],
    seeds: Mapping[str, list[list[int]]],
    lower_is_better: bool,
) -> PairResult:
    x, y = finals[first], finals[second]
    paired = all(
        len(a) == len(i) and len(b) == len(j) and len(set(i)) == len(i) and sorted(i) == sorted(j)
        for a, b, i, j in zip(x, y, seeds[first], seeds[second], strict=True)
    )
    if paired:
        strata = [
            a[np.argsort(i)] - b[np.argsort(j)]
            for a, b, i, j in zip(x, y, seeds[first], seeds[second], strict=True)
        ]
        difference = _estimate(strata, aggregates.mean)
    else:
        difference = _estimate([*x, *y], aggregates.difference)
    sign = -1.0 if lower_is_better else 1.0
    improvement = probability_of_improvement([sign * a for a in x], [sign * b for b in y])
    fewest = min(map(len, [*x, *y]))
    conclusion, conclusive = _conclusion(first, second, difference, fewest, lower_is_better)
    return PairResult(first, second, difference, improvement, paired, conclusion, conclusive)


def _conclusion(
    first: str, second: str, difference: Estimate, fewest: int, lower_is_better: bool
) -> tuple[str, bool]:
    """Return what the interval of a difference shows, and whether it shows anything."""
    if fewest < MIN_SEEDS:
        return _too_few(fewest), False
    if difference.low <= 0.0 <= difference.high:
        return f"no difference is shown with {fewest} runs: the interval contains 0", False
    first_wins = (difference.value < 0) == lower_is_better
    winner, loser = (first, second) if first_wins else (second, first)
    return f"{winner} is better than {loser}", True


def _too_few(number: int) -> str:
    runs = "1 run" if number == 1 else f"{number} runs"
    return f"too few runs for a conclusion: {runs}, at least {MIN_SEEDS} are needed"


def _notes(results: Sequence[GroupResult], at: float | None) -> list[str]:
    notes = []
    if len(results) == 1 and len(results[0].final) < MIN_SEEDS:
        notes.append(_too_few(len(results[0].final)))
    ends = {group.name: group.last_steps for group in results}
    if at is None and len({step for pair in ends.values() for step in pair}) > 1:
        listed = ", ".join(
            f"{name} {low:,}" + (f" to {high:,}" if high > low else "")
            for name, (low, high) in ends.items()
        )
        common = min(low for low, _ in ends.values())
        notes.append(
            f"final values belong to different steps: {listed}; "
            f"to compare at one step add at={common}"
        )
    for group in results:
        if len(group.final) > 1 and np.ptp(group.final) == 0:
            notes.append(
                f"all runs of {group.name} end at the same value, so its interval has no width; "
                "rare failures are not excluded"
            )
    return notes
