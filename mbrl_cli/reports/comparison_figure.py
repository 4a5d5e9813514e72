"""A comparison as a PNG or PDF figure (pip extra plot)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mbrl_cli.errors import UserError
from mbrl_cli.reports.comparison import Comparison, Section
from mbrl_cli.reports.comparison_text import counted

# Distinguishable with a colour vision deficiency (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b08a00", "#555555", "#6a4fc4", "#9c2f1f")
WIDTH, ROW_HEIGHT = 10.0, 4.0  # inches


def write_figure(comparison: Comparison, path: Path) -> None:
    """Write the learning curves and the final values of each environment.

    Args:
        comparison: what is drawn.
        path: a file whose suffix, .png or .pdf, is its format.

    Raises:
        UserError: if matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            f"--{path.suffix[1:]} {path}: needs matplotlib; type: pip install matplotlib"
        ) from None
    names = list(
        dict.fromkeys(group.name for section in comparison.sections for group in section.groups)
    )
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    rows = len(comparison.sections)
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), section in zip(axes, comparison.sections, strict=True):
        _draw_curves(left, section, colours, comparison.label)
        _draw_finals(right, section, colours, comparison.label)
    try:
        # No date in the file: the same runs give the same bytes.
        metadata: dict[str, Any] = {"CreationDate": None} if path.suffix == ".pdf" else {}
        figure.savefig(path, dpi=130, metadata=metadata)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _draw_curves(axes: Any, section: Section, colours: dict[str, str], metric: str) -> None:
    if section.is_overall:
        axes.set_axis_off()
        return
    last = max((float(group.grid[-1]) for group in section.groups if len(group.grid)), default=0.0)
    for group in section.groups:
        colour = colours[group.name]
        label = f"{group.name} ({counted(len(group.final), 'run')})"
        marker = "." if len(group.grid) <= 25 else None
        axes.plot(group.grid, group.curve, color=colour, label=label, marker=marker)
        if len(group.grid) and np.isfinite(group.band.low).all():
            axes.fill_between(group.grid, *group.band, color=colour, alpha=0.18, linewidth=0)
    for number, baseline in enumerate(section.baselines):
        style = {"color": "0.45", "linestyle": (0, (2 + 2 * (number % 4), 2)), "linewidth": 1.2}
        label = f"{baseline.name} (published)"
        if len(baseline.steps):
            steps = baseline.steps / section.action_repeat
            shown = steps <= last
            axes.plot(steps[shown], baseline.mean[shown], label=label, **style)
            ends = baseline.low[shown], baseline.high[shown]
            axes.fill_between(steps[shown], *ends, color="0.45", alpha=0.1, linewidth=0)
        else:
            axes.axhline(baseline.mean[-1], label=label, **style)
    if section.threshold is not None:
        axes.axhline(section.threshold.value, color="0.6", linestyle=":", linewidth=1.0)
    repeat = section.action_repeat
    steps_label = "environment steps" + (f" (each {repeat} simulator steps)" if repeat > 1 else "")
    axes.set(xlabel=steps_label, ylabel=metric, title=section.title)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.2)
    axes.legend(  # below the axes, where it hides no curve
        loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False, fontsize="small"
    )


def _draw_finals(axes: Any, section: Section, colours: dict[str, str], metric: str) -> None:
    for row, group in enumerate(section.groups):
        colour, mean = colours[group.name], group.mean
        axes.scatter(
            group.final, np.full(len(group.final), row + 0.22), s=12, color=colour, alpha=0.45
        )
        axes.plot(mean.value, row, "o", color=colour)
        if np.isfinite(mean.low):
            axes.plot([mean.low, mean.high], [row, row], color=colour, linewidth=2)
    label = "normalized score" if section.is_overall else metric
    title = section.title if section.is_overall else "final value, mean with interval"
    axes.set_xlabel(label)
    axes.set_title(title, loc="right" if section.is_overall else "center")
    axes.set_yticks(range(len(section.groups)), [group.name for group in section.groups])
    axes.set_ylim(len(section.groups) - 0.4, -0.6)  # the best group at the top
    axes.grid(alpha=0.2, axis="x")
