"""Runs that share their past, because one is a fork of the other or both are forks of a third."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from mbrl_cli.reports.comparison import RunRecord
from mbrl_cli.reports.curves import Curve

Lineage = dict[Path, float]  # a run and those before it -> steps that belong to the run


def draw_shared_past_once(
    groups: Mapping[str, Sequence[RunRecord]],
) -> tuple[dict[str, Sequence[RunRecord]], list[str]]:
    """Return the groups with the point from which each run is drawn, and notes.

    A group is drawn from its forks on if each of its runs shares its past with a run of a group
    that is drawn whole or from an earlier step. All numbers of the tables use the whole curves.

    Args:
        groups: the runs of each group in one environment.
    """
    records = [run for runs in groups.values() for run in runs]
    if not any(run.origins for run in records):
        return dict(groups), []
    lineages = {run.folder: _lineage(run, records) for run in records}
    result: dict[str, Sequence[RunRecord]] = {}
    drawn: list[RunRecord] = []
    notes = []
    for name in sorted(groups, key=lambda name: max(len(run.origins) for run in groups[name])):
        runs = groups[name]
        shared = []
        cut = []
        for run in runs:
            steps = {
                other.folder: _shared_steps(lineages[run.folder], lineages[other.folder])
                for other in drawn
            }
            partner = max(drawn, key=lambda other: steps[other.folder], default=None)
            shared.append(0 if partner is None else steps[partner.folder])
            points = 0 if partner is None else _equal_points(run.curve, partner.curve, shared[-1])
            cut.append(dataclasses.replace(run, drawn_from=max(0, points - 1)))
        drawn += runs
        result[name] = runs
        if all(shared):
            result[name] = cut
            steps_text = " to ".join(f"{step:,}" for step in sorted({min(shared), max(shared)}))
            notes.append(
                f"{name}: the first {steps_text} steps are those of a run of another "
                "group, with which they are drawn"
            )
        notes += _dependence(name, [lineages[run.folder] for run in runs])
    return {name: result[name] for name in groups}, notes


def drawn_curve(run: RunRecord) -> Curve:
    """Return the part of the curve that is drawn; it starts at the last point of the past."""
    return Curve(run.curve.steps[run.drawn_from :], run.curve.values[run.drawn_from :])


def _lineage(run: RunRecord, records: Sequence[RunRecord]) -> Lineage:
    """Return the run and its origins by their folders, with the steps that it shares with each."""
    compared = {record.folder.absolute() for record in records}
    folder = run.folder.absolute()
    lineage: Lineage = {folder: float("inf")}
    for origin in run.origins:
        path = Path(origin.run)
        if path not in compared and folder.parent / path.name in compared:
            path = folder.parent / path.name  # both were moved
        lineage[path] = float(origin.env_step)
    return lineage


def _shared_steps(one: Lineage, other: Lineage) -> int:
    """Return the number of steps that two different runs have in common."""
    return int(max((min(one[path], other[path]) for path in one.keys() & other), default=0.0))


def _equal_points(one: Curve, other: Curve, last_step: int) -> int:
    """Return the number of points at the start that are equal, up to the step of the fork.

    A point at that step can be of the past, as evaluations are, or not, as fits are.
    """
    count = min(len(one.steps), len(other.steps), int((one.steps <= last_step).sum()))
    equal = (one.steps[:count] == other.steps[:count]) & (
        one.values[:count] == other.values[:count]
    )
    return count if equal.all() else int(equal.argmin())


def _dependence(name: str, lineages: Sequence[Lineage]) -> list[str]:
    """Return a note if runs of one group share their past: they are not independent."""
    most = max((_shared_steps(one, other) for one, other in combinations(lineages, 2)), default=0)
    if not most:
        return []
    return [
        f"runs of {name} share up to {most:,} steps: they are not independent, so the intervals "
        "are too short"
    ]
