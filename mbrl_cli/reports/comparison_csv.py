"""A comparison as CSV, one row for each number."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

from mbrl_cli.reports.comparison import Comparison, Estimate, Section

HEADER = ("env", "group", "other_group", "statistic", "env_step", "value", "low", "high", "runs")
Row = tuple[object, ...]


def comparison_csv(comparison: Comparison) -> str:
    """Return the statistics, differences and curves; `low` and `high` are 95 % intervals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for section in comparison.sections:
        writer.writerows(_groups(section))
        writer.writerows(_pairs(section))
    return text.getvalue()


def _groups(section: Section) -> Iterator[Row]:
    for group in section.groups:
        runs = len(group.final)
        named = {
            "mean": group.mean, "median": group.median, "iqm": group.iqm,
            "optimality_gap": group.gap,
        }  # fmt: skip
        for statistic, estimate in named.items():
            if estimate is not None:
                yield (section.title, group.name, "", statistic, "", *_ends(estimate), runs)
        found = group.threshold
        if found is not None:
            for statistic, value in (
                ("reached_threshold", found.reached),
                ("steps_to_threshold", found.steps),
                ("minutes_to_threshold", found.minutes),
            ):
                row = "" if value is None else value
                yield (section.title, group.name, "", statistic, "", row, "", "", runs)
        for step, mean, low, high in zip(
            group.grid.tolist(), group.curve.tolist(), *map(list, group.band), strict=True
        ):
            estimate = Estimate(mean, float(low), float(high))
            yield (section.title, group.name, "", "curve", step, *_ends(estimate), runs)


def _pairs(section: Section) -> Iterator[Row]:
    sizes = {group.name: len(group.final) for group in section.groups}
    for pair in section.pairs:
        runs = min(sizes[pair.first], sizes[pair.second])
        names = (section.title, pair.first, pair.second)
        statistic = "paired_difference" if pair.paired else "difference"
        yield (*names, statistic, "", *_ends(pair.difference), runs)
        yield (*names, "probability_of_improvement", "", *pair.improvement, runs)


def _ends(estimate: Estimate) -> tuple[object, object, object]:
    """Return value, low and high; an interval that does not exist is empty."""
    if math.isnan(estimate.low):
        return estimate.value, "", ""
    return estimate.value, estimate.low, estimate.high
