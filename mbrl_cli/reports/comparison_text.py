"""A comparison as text for a terminal of 80 columns."""

from __future__ import annotations

import math

import numpy as np

from mbrl_cli.errors import printable
from mbrl_cli.reports.comparison import Comparison, Estimate, GroupResult, PairResult, Section
from mbrl_cli.reports.text_table import text_table, wrapped
from mbrl_cli.return_text import format_return

NONE = "-"


def comparison_text(comparison: Comparison, width: int = 80) -> str:
    """Return tables of the groups and of their differences, and the notes."""
    lines = wrapped(summary(comparison), width)
    for note in comparison.notes:
        lines += wrapped(f"note: {note}", width)
    for section in comparison.sections:
        lines += ["", *_section(section, width)]
    return printable("\n".join(lines) + "\n")


def summary(comparison: Comparison) -> str:
    """Return one sentence: what is compared, and by what the groups differ."""
    runs = comparison.runs
    groups = len({run.group for run in runs})
    environments = len({run.env for run in runs})
    better = "; lower is better" if comparison.lower_is_better else ""
    return (
        f"{comparison.metric} of {counted(len(runs), 'run')} in {counted(groups, 'group')} and "
        f"{counted(environments, 'environment')}, mean with 95 % interval{better}"
    )


def counted(number: int, word: str) -> str:
    """Return `1 run` or `5 runs`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def number_scale(section: Section) -> float:
    """Return the size of the values of a section, by which they get equal decimals."""
    return float(max(np.abs(group.final).max() for group in section.groups))


def interval_text(estimate: Estimate, scale: float) -> str:
    """Return `485.5 to 500.0`, or a hyphen if there is no interval."""
    if math.isnan(estimate.low):
        return NONE
    return f"{format_return(estimate.low, scale)} to {format_return(estimate.high, scale)}"


def ratio_text(low: float, high: float) -> str:
    """Return both ends of an interval of a probability or of an optimality gap."""
    return NONE if math.isnan(low) else f"{low:.2f} to {high:.2f}"


def threshold_texts(group: GroupResult) -> tuple[str, str, str]:
    """Return how many runs reached the threshold, and the median steps and minutes."""
    found = group.threshold
    if found is None:
        return NONE, NONE, NONE
    steps = NONE if found.steps is None else f"{found.steps:,.0f}"
    minutes = NONE if found.minutes is None else f"{found.minutes:.1f}"
    return f"{found.reached} of {found.runs}", steps, minutes


def baseline_texts(section: Section) -> list[str]:
    """Return the value of each published curve at the last step of the runs, and its last value."""
    last = max(group.last_steps[1] for group in section.groups) * section.action_repeat
    texts = []
    for baseline in section.baselines:
        if not len(baseline.steps):
            texts.append(f"published: {baseline.name} {format_return(baseline.mean[-1])}")
            continue
        shown = dict.fromkeys((min(last, baseline.steps[-1]), baseline.steps[-1]))
        values = [
            f"{format_return(float(np.interp(step, baseline.steps, baseline.mean)))} at {step:,.0f}"
            for step in shown
            if step >= baseline.steps[0]
        ]
        kind = "simulator steps" if section.action_repeat > 1 else "steps"
        texts.append(f"published: {baseline.name} {', '.join(values)} {kind}")
    return texts


def pair_note(pair: PairResult) -> str:
    """Return the conclusion about a pair, and how its difference was taken."""
    how = "differences between runs with equal seeds" if pair.paired else "runs not paired"
    return f"{pair.conclusion} ({how})"


def _section(section: Section, width: int) -> list[str]:
    scale = number_scale(section)
    rows = [["group", "runs", "mean", "95 % interval", "median", "IQM", "gap"]]
    for group in section.groups:
        rows.append(
            [
                group.name,
                str(len(group.final)),
                format_return(group.mean.value, scale),
                interval_text(group.mean, scale),
                format_return(group.median.value, scale),
                format_return(group.iqm.value, scale),
                NONE if group.gap is None else f"{group.gap.value:.3f}",
            ]
        )
    lines = [section.title, *text_table(rows, width)]
    if section.threshold is not None:
        rows = [["group", f"reached {section.threshold.value:g}", "steps", "minutes"]]
        rows += [[group.name, *threshold_texts(group)] for group in section.groups]
        lines += ["", *text_table(rows, width)]
    if section.pairs:
        heading, names = section.compared()
        rows = [["group", "difference", "95 % interval", "P(better)", "95 % interval"]]
        for pair, name in zip(section.pairs, names, strict=True):
            rows.append(
                [
                    name,
                    format_return(pair.difference.value, scale),
                    interval_text(pair.difference, scale),
                    f"{pair.improvement.probability:.2f}",
                    ratio_text(pair.improvement.low, pair.improvement.high),
                ]
            )
        notes = [wrapped(pair_note(pair), width, indent="  ") for pair in section.pairs]
        lines += ["", *wrapped(heading, width), *text_table(rows, width, [[], *notes])]
    for text in baseline_texts(section):
        lines += wrapped(text, width)
    for note in section.notes:
        lines += wrapped(f"note: {note}", width)
    return lines
