"""Charts of a comparison as SVG text, for a page without scripts.

Colours are CSS classes of the page: `c0` to `c7` for groups, `b` for published results, `axis`,
`grid` and `mark`. So the charts follow the light and the dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from mbrl_cli.reports.chart_axis import ChartAxis, fitted_axis, tick_text
from mbrl_cli.reports.comparison import Section

COLOURS = 8
WIDTH = 620
CURVES_HEIGHT = 340
ROW_HEIGHT = 30
CHARACTER = 7.2  # width in pixels at a font size of 12
MAX_LABEL = 34  # characters


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
    left = 16 + CHARACTER * max(len(tick_text(tick)) for tick in y.ticks(6)) + 16
    first = min(float(group.grid[0]) for group in curves)
    x = ChartAxis(min(0.0, first), max(last, first + 1), left, WIDTH - 16)
    parts = [*_vertical_axis(y, x, metric), *_horizontal_axis(x, y, _steps_label(section))]
    if section.threshold is not None:
        position = y.position(section.threshold.value)
        parts.append(
            f'<line class="mark" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{position:.1f}" '
            f'y2="{position:.1f}"><title>threshold {section.threshold.value:g}</title></line>'
        )
    for number, (baseline, steps) in enumerate(published):
        style = f'class="b" stroke-dasharray="{published_dashes(number)}"'
        title = f"<title>{escape(baseline.name)} (published)</title>"
        if not len(steps):
            height = y.position(float(baseline.mean[-1]))
            points = f"{x.start:.1f},{height:.1f} {x.end:.1f},{height:.1f}"
        else:
            shown = steps <= last
            points = _points(x, y, steps[shown], baseline.mean[shown])
            low, high = baseline.low[shown], baseline.high[shown]
            if len(low) > 1 and np.isfinite(low).all():
                parts.append(_band(x, y, steps[shown], low, high, "published"))
        parts.append(f'<polyline {style} points="{points}">{title}</polyline>')
    for group in reversed(curves):  # the best group is drawn last, above the others
        colour = colours[group.name] % COLOURS
        dash = ' stroke-dasharray="7 3"' if colours[group.name] >= COLOURS else ""
        low, high = group.band
        if np.isfinite(low).all():
            parts.append(_band(x, y, group.grid, low, high, f"c{colour}"))
        parts.append(
            f'<polyline class="line c{colour}"{dash} points="'
            f'{_points(x, y, group.grid, group.curve)}">'
            f"<title>{escape(group.name)}</title></polyline>"
        )
        if len(group.grid) <= 25:
            parts += [
                f'<circle class="dot c{colour}" cx="{x.position(step):.1f}" '
                f'cy="{y.position(value):.1f}" r="2.5"><title>{escape(group.name)}: '
                f"{value:.4g} at {step:,.0f} steps</title></circle>"
                for step, value in zip(group.grid.tolist(), group.curve.tolist(), strict=True)
            ]
    return _svg(parts, CURVES_HEIGHT, f"Learning curves of {section.title}")


def finals_svg(section: Section, colours: dict[str, int], label: str) -> str:
    """Return the final values: small dots for runs, a large one with its interval for the mean."""
    names = [group.name for group in section.groups]
    values = np.concatenate(
        [np.r_[g.final, g.mean.value, g.mean.low, g.mean.high] for g in section.groups]
    )
    values = values[np.isfinite(values)]
    x = fitted_axis(float(values.min()), float(values.max()), _label_width(names), WIDTH - 24)
    parts = _rows(names, x, label)
    for row, group in enumerate(section.groups):
        y = _row_centre(row)
        colour = colours[group.name] % COLOURS
        parts += [
            f'<circle class="run c{colour}" cx="{x.position(value):.1f}" cy="{y + 8:.1f}" r="3">'
            f"<title>{escape(group.name)}, seed {run.seed}: {value:.4g}</title></circle>"
            if not section.is_overall
            else f'<circle class="run c{colour}" cx="{x.position(value):.1f}" cy="{y + 8:.1f}" '
            'r="3"/>'
            for run, value in zip(group.runs, group.final.tolist(), strict=True)
        ]
        parts += _interval(x, y - 2, *_mean(section, row), f"c{colour}", group.name)
    return _svg(parts, _rows_height(len(names)), f"Final values in {section.title}")


def improvement_svg(section: Section, colours: dict[str, int]) -> str:
    """Return the probability that a run of one group is better than a run of another."""
    if not section.pairs:
        return ""
    _, names = section.compared()
    x = ChartAxis(0.0, 1.0, _label_width(names), WIDTH - 24)
    parts = _rows(names, x, "probability of improvement")
    middle = x.position(0.5)
    bottom = _row_centre(len(names)) - ROW_HEIGHT / 2
    parts.append(
        f'<line class="mark" x1="{middle:.1f}" x2="{middle:.1f}" y1="6" y2="{bottom:.1f}"/>'
    )
    for row, (pair, name) in enumerate(zip(section.pairs, names, strict=True)):
        colour = f"c{colours[pair.first] % COLOURS}"
        parts += _interval(x, _row_centre(row), *pair.improvement, colour, name)
    return _svg(parts, _rows_height(len(names)), f"Probability of improvement in {section.title}")


def published_dashes(number: int) -> str:
    """Return the dashes of a published curve, by its number."""
    return ("5 2", "9 3", "9 3 2 3", "14 4")[number % 4]


def short_label(text: str) -> str:
    """Return at most `MAX_LABEL` characters of a label."""
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def _steps_label(section: Section) -> str:
    repeat = section.action_repeat
    return "environment steps" + (f" (each is {repeat} simulator steps)" if repeat > 1 else "")


def _mean(section: Section, row: int) -> tuple[float, float, float]:
    mean = section.groups[row].mean
    return mean.value, mean.low, mean.high


def _label_width(names: Sequence[str]) -> float:
    return 20 + CHARACTER * max(len(short_label(name)) for name in names)


def _row_centre(row: int) -> float:
    return 6 + ROW_HEIGHT * (row + 0.5)


def _rows_height(rows: int) -> int:
    return 6 + ROW_HEIGHT * rows + 46


def _rows(names: Sequence[str], x: ChartAxis, label: str) -> list[str]:
    """Return the grid of a chart with one row per name."""
    y = ChartAxis(0.0, 1.0, 6 + ROW_HEIGHT * len(names), 6)
    parts = _horizontal_axis(x, y, label)
    for row, name in enumerate(names):
        parts.append(
            f'<text class="label" x="{x.start - 10:.1f}" y="{_row_centre(row) + 4:.1f}" '
            f'text-anchor="end">{escape(short_label(name))}'
            f"<title>{escape(name)}</title></text>"
        )
    return parts


def _interval(
    x: ChartAxis, y: float, value: float, low: float, high: float, colour: str, name: str
) -> Iterator[str]:
    title = f"<title>{escape(name)}: {value:.4g}"
    if not math.isnan(low):
        title += f" ({low:.4g} to {high:.4g})"
        yield (
            f'<line class="line {colour}" x1="{x.position(low):.1f}" x2="{x.position(high):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    yield (
        f'<circle class="dot {colour}" cx="{x.position(value):.1f}" cy="{y:.1f}" r="5">'
        f"{title}</title></circle>"
    )


def _horizontal_axis(x: ChartAxis, y: ChartAxis, label: str) -> list[str]:
    room = (x.end - x.start) / (CHARACTER * 8)  # labels have up to six characters
    parts = []
    for tick in x.ticks(min(8, max(2, int(room)))):
        position = x.position(tick)
        parts += [
            f'<line class="grid" x1="{position:.1f}" x2="{position:.1f}" y1="{y.end:.1f}" '
            f'y2="{y.start:.1f}"/>',
            f'<text x="{position:.1f}" y="{y.start + 18:.1f}" text-anchor="middle">'
            f"{tick_text(tick)}</text>",
        ]
    parts += [
        f'<line class="axis" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{y.start:.1f}" '
        f'y2="{y.start:.1f}"/>',
        f'<text x="{(x.start + x.end) / 2:.1f}" y="{y.start + 38:.1f}" '
        f'text-anchor="middle">{escape(label)}</text>',
    ]
    return parts


def _vertical_axis(y: ChartAxis, x: ChartAxis, label: str) -> list[str]:
    parts = []
    for tick in y.ticks(6):
        position = y.position(tick)
        parts += [
            f'<line class="grid" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{position:.1f}" '
            f'y2="{position:.1f}"/>',
            f'<text x="{x.start - 8:.1f}" y="{position + 4:.1f}" text-anchor="end">'
            f"{tick_text(tick)}</text>",
        ]
    middle = (y.start + y.end) / 2
    parts.append(
        f'<text transform="translate(12 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(label)}</text>"
    )
    return parts


def _band(
    x: ChartAxis, y: ChartAxis, steps: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str
) -> str:
    points = f"{_points(x, y, steps, low)} {_points(x, y, steps[::-1], high[::-1])}"
    return f'<polygon class="band {colour}" points="{points}"/>'


def _points(x: ChartAxis, y: ChartAxis, steps: np.ndarray, values: np.ndarray) -> str:
    return " ".join(
        f"{x.position(step):.1f},{y.position(value):.1f}"
        for step, value in zip(steps.tolist(), values.tolist(), strict=True)
    )


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
