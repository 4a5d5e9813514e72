"""Charts of a comparison as SVG text, for a page without scripts.

Colours are CSS classes of the page: `c0` to `c7` for groups, `b` for published results, `axis`,
`grid` and `mark`. So the charts follow the light and the dark theme.
"""

from __future__ import annotations

import numpy as np

from mbrl_cli.reports.chart_axis import ChartAxis, fitted_axis
from mbrl_cli.reports.comparison import Section
from mbrl_cli.reports.html_text import html_text
from mbrl_cli.reports.svg_parts import (
    COLOURS,
    ROW_HEIGHT,
    WIDTH,
    axis_room,
    band_area,
    horizontal_axis,
    interval_mark,
    label_width,
    labelled_rows,
    point_list,
    row_centre,
    rows_height,
    svg_document,
    vertical_axis,
)

CURVES_HEIGHT = 340


def curves_svg(section: Section, colours: dict[str, int], metric: str) -> str:
    """Return the learning curves with their bands, the threshold and published curves."""
    curves = [group for group in section.groups if len(group.grid)]
    if not curves:
        return ""
    last = max(float(group.grid[-1]) for group in curves)
    published = [(b, b.steps / section.action_repeat) for b in section.baselines if len(b.mean)]
    values = [array for group in curves for array in (group.curve, *group.band)]
    values += [b.mean[(s <= last)] if len(s) else b.mean for b, s in published]
    if section.threshold is not None:
        values.append(np.array([section.threshold.value]))
    joined = np.concatenate(values)
    joined = joined[np.isfinite(joined)]
    y = fitted_axis(float(joined.min()), float(joined.max()), CURVES_HEIGHT - 46, 12)
    left = axis_room(y)
    first = min(float(group.grid[0]) for group in curves)
    x = ChartAxis(min(0.0, first), max(last, first + 1), left, WIDTH - 16)
    parts = [*vertical_axis(y, x, metric), *horizontal_axis(x, y, _steps_label(section))]
    if section.threshold is not None:
        position = y.position(section.threshold.value)
        parts.append(
            f'<line class="mark" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{position:.1f}" '
            f'y2="{position:.1f}"><title>threshold {section.threshold.value:g}</title></line>'
        )
    for number, (baseline, steps) in enumerate(published):
        style = f'class="b" stroke-dasharray="{published_dashes(number)}"'
        title = f"<title>{html_text(baseline.name)} (published)</title>"
        if not len(steps):
            height = y.position(float(baseline.mean[-1]))
            points = f"{x.start:.1f},{height:.1f} {x.end:.1f},{height:.1f}"
        else:
            shown = steps <= last
            points = point_list(x, y, steps[shown], baseline.mean[shown])
            low, high = baseline.low[shown], baseline.high[shown]
            if len(low) > 1 and np.isfinite(low).all():
                parts.append(band_area(x, y, steps[shown], low, high, "published"))
        parts.append(f'<polyline {style} points="{points}">{title}</polyline>')
    for group in reversed(curves):  # the best group is drawn last, above the others
        colour = colours[group.name] % COLOURS
        dash = ' stroke-dasharray="7 3"' if colours[group.name] >= COLOURS else ""
        low, high = group.band
        if np.isfinite(low).all():
            parts.append(band_area(x, y, group.grid, low, high, f"c{colour}"))
        parts.append(
            f'<polyline class="line c{colour}"{dash} points="'
            f'{point_list(x, y, group.grid, group.curve)}">'
            f"<title>{html_text(group.name)}</title></polyline>"
        )
        if len(group.grid) <= 25:
            parts += [
                f'<circle class="dot c{colour}" cx="{x.position(step):.1f}" '
                f'cy="{y.position(value):.1f}" r="2.5"><title>{html_text(group.name)}: '
                f"{value:.4g} at {step:,.0f} steps</title></circle>"
                for step, value in zip(group.grid.tolist(), group.curve.tolist(), strict=True)
            ]
    return svg_document(parts, CURVES_HEIGHT, f"Learning curves of {section.title}")


def finals_svg(section: Section, colours: dict[str, int], label: str) -> str:
    """Return the final values: small dots for runs, a large one with its interval for the mean."""
    names = [group.name for group in section.groups]
    values = np.concatenate(
        [np.r_[g.final, g.mean.value, g.mean.low, g.mean.high] for g in section.groups]
    )
    values = values[np.isfinite(values)]
    x = fitted_axis(float(values.min()), float(values.max()), label_width(names), WIDTH - 24)
    parts = labelled_rows(names, x, label)
    for row, group in enumerate(section.groups):
        y = row_centre(row)
        colour = colours[group.name] % COLOURS
        parts += [
            f'<circle class="run c{colour}" cx="{x.position(value):.1f}" cy="{y + 8:.1f}" r="3">'
            f"<title>{html_text(group.name)}, seed {run.seed}: {value:.4g}</title></circle>"
            if not section.is_overall
            else f'<circle class="run c{colour}" cx="{x.position(value):.1f}" cy="{y + 8:.1f}" '
            'r="3"/>'
            for run, value in zip(group.runs, group.final.tolist(), strict=True)
        ]
        parts += interval_mark(x, y - 2, *_mean(section, row), f"c{colour}", group.name)
    return svg_document(parts, rows_height(len(names)), f"Final values in {section.title}")


def improvement_svg(section: Section, colours: dict[str, int]) -> str:
    """Return the probability that a run of one group is better than a run of another."""
    if not section.pairs:
        return ""
    _, names = section.compared()
    x = ChartAxis(0.0, 1.0, label_width(names), WIDTH - 24)
    parts = labelled_rows(names, x, "probability of improvement")
    middle = x.position(0.5)
    bottom = row_centre(len(names)) - ROW_HEIGHT / 2
    parts.append(
        f'<line class="mark" x1="{middle:.1f}" x2="{middle:.1f}" y1="6" y2="{bottom:.1f}"/>'
    )
    for row, (pair, name) in enumerate(zip(section.pairs, names, strict=True)):
        colour = f"c{colours[pair.first] % COLOURS}"
        parts += interval_mark(x, row_centre(row), *pair.improvement, colour, name)
    return svg_document(
        parts, rows_height(len(names)), f"Probability of improvement in {section.title}"
    )


def published_dashes(number: int) -> str:
    """Return the dashes of a published curve, by its number."""
    return ("5 2", "9 3", "9 3 2 3", "14 4")[number % 4]


def _steps_label(section: Section) -> str:
    repeat = section.action_repeat
    return "environment steps" + (f" (each is {repeat} simulator steps)" if repeat > 1 else "")


def _mean(section: Section, row: int) -> tuple[float, float, float]:
    mean = section.groups[row].mean
    return mean.value, mean.low, mean.high
