"""Parts of charts as SVG text: axes, rows, lines, bands and intervals.

Colours are CSS classes of `html_page.py`: `c0` to `c7`, `axis`, `grid` and `mark`. So the charts
follow the light and the dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from mbrl_cli.reports.chart_axis import ChartAxis, tick_text
from mbrl_cli.reports.html_text import html_text

COLOURS = 8
WIDTH = 620
ROW_HEIGHT = 30
CHARACTER = 7.2  # width in pixels at a font size of 12
MAX_LABEL = 38  # characters


def short_label(text: str) -> str:
    """Return at most `MAX_LABEL` characters of a label."""
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def label_width(names: Sequence[str]) -> float:
    """Return where an axis begins that has these labels on its left side."""
    return 20 + CHARACTER * max(len(short_label(name)) for name in names)


def row_centre(row: int) -> float:
    """Return the height of the middle of a row."""
    return 6 + ROW_HEIGHT * (row + 0.5)


def rows_height(rows: int) -> int:
    """Return the height of a chart with that many rows."""
    return 6 + ROW_HEIGHT * rows + 46


def axis_room(y: ChartAxis) -> float:
    """Return where the horizontal axis begins beside a vertical one with its label."""
    return 16 + CHARACTER * max(len(tick_text(tick)) for tick in y.ticks(6)) + 16


def labelled_rows(names: Sequence[str], x: ChartAxis, label: str) -> list[str]:
    """Return the grid of a chart with one row per name."""
    y = ChartAxis(0.0, 1.0, 6 + ROW_HEIGHT * len(names), 6)
    parts = horizontal_axis(x, y, label)
    for row, name in enumerate(names):
        parts.append(
            f'<text class="label" x="{x.start - 10:.1f}" y="{row_centre(row) + 4:.1f}" '
            f'text-anchor="end">{html_text(short_label(name))}'
            f"<title>{html_text(name)}</title></text>"
        )
    return parts


def interval_mark(
    x: ChartAxis, y: float, value: float, low: float, high: float, colour: str, name: str
) -> Iterator[str]:
    """Return a dot at the value and a line from `low` to `high`; NaN: no line."""
    title = f"<title>{html_text(name)}: {value:.4g}"
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


def horizontal_axis(x: ChartAxis, y: ChartAxis, label: str) -> list[str]:
    """Return the axis with its ticks, grid lines and label."""
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
        f'text-anchor="middle">{html_text(label)}</text>',
    ]
    return parts


def vertical_axis(y: ChartAxis, x: ChartAxis, label: str) -> list[str]:
    """Return the axis with its ticks, grid lines and label."""
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
        f"{html_text(label)}</text>"
    )
    return parts


def band_area(
    x: ChartAxis, y: ChartAxis, steps: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str
) -> str:
    """Return the area between two lines."""
    points = f"{point_list(x, y, steps, low)} {point_list(x, y, steps[::-1], high[::-1])}"
    return f'<polygon class="band {colour}" points="{points}"/>'


def point_list(x: ChartAxis, y: ChartAxis, steps: np.ndarray, values: np.ndarray) -> str:
    """Return the points of a line as SVG writes them."""
    return " ".join(
        f"{x.position(step):.1f},{y.position(value):.1f}"
        for step, value in zip(steps.tolist(), values.tolist(), strict=True)
    )


def svg_document(parts: Sequence[str], height: float, title: str) -> str:
    """Return the whole chart; `title` is its description for screen readers."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{html_text(title)}">'
        + "".join(parts)
        + "</svg>"
    )
