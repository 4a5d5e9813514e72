"""Charts of a diagnosis as SVG text, for a page without scripts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.reports.chart_axis import ChartAxis, fitted_axis
from mbrl_cli.reports.html_text import html_text
from mbrl_cli.reports.svg_parts import (
    COLOURS,
    WIDTH,
    axis_room,
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

HEIGHT = 300
BAR = 14  # height of a bar in pixels
MAX_DOTS = 25  # points of a line that are marked


def curve_svg(curve: Curve) -> str:
    """Return the lines; empty if no value is finite."""
    values = np.concatenate([np.zeros(0), *curve.lines.values()])
    values = values[np.isfinite(values)]
    if not len(values) or not len(curve.x):
        return ""
    y = fitted_axis(float(values.min()), float(values.max()), HEIGHT - 46, 12)
    low, high = float(np.nanmin(curve.x)), float(np.nanmax(curve.x))
    x = ChartAxis(low, high if high > low else low + 1.0, axis_room(y), WIDTH - 16)
    parts = [*vertical_axis(y, x, curve.y_label), *horizontal_axis(x, y, curve.x_label)]
    for number, (name, line) in enumerate(curve.lines.items()):
        parts += _line(x, y, curve.x, line, number, name)
    return svg_document(parts, HEIGHT, curve.title)


def bars_svg(bars: Bars) -> str:
    """Return one bar from 0 to each value, with its interval; empty if no value is finite."""
    shown = [i for i, value in enumerate(bars.values) if math.isfinite(value)]
    if not shown:
        return ""
    ends = [end[i] for end in (bars.values, bars.low, bars.high) for i in shown]
    finite = [0.0, *(end for end in ends if math.isfinite(end))]
    names = [bars.names[i] for i in shown]
    x = fitted_axis(min(finite), max(finite), label_width(names), WIDTH - 24)
    parts = labelled_rows(names, x, bars.y_label)
    zero, bottom = x.position(0.0), row_centre(len(shown)) - row_centre(0) + 6
    for row, i in enumerate(shown):
        end, centre = x.position(bars.values[i]), row_centre(row)
        parts.append(
            f'<rect class="bar c0" x="{min(zero, end):.1f}" y="{centre - BAR / 2:.1f}" '
            f'width="{abs(end - zero):.1f}" height="{BAR}"/>'
        )
        parts += interval_mark(
            x, centre, bars.values[i], bars.low[i], bars.high[i], "c0", bars.names[i]
        )
    parts.append(f'<line class="axis" x1="{zero:.1f}" x2="{zero:.1f}" y1="6" y2="{bottom:.1f}"/>')
    return svg_document(parts, rows_height(len(shown)), bars.title)


def line_style(number: int) -> str:
    """Return the attributes of a line, by its number: a colour, then a colour with dashes."""
    dash = ' stroke-dasharray="7 3"' if number >= COLOURS else ""
    return f'class="line c{number % COLOURS}"{dash}'


def _line(
    x: ChartAxis,
    y: ChartAxis,
    at: NDArray[np.float64],
    values: NDArray[np.float64],
    number: int,
    name: str,
) -> Iterator[str]:
    title = f"<title>{html_text(name)}</title>"
    finite = np.flatnonzero(np.isfinite(values))
    points = point_list(x, y, at[finite], values[finite])
    yield f'<polyline {line_style(number)} points="{points}">{title}</polyline>'
    if len(finite) <= MAX_DOTS:
        for i in finite.tolist():
            yield (
                f'<circle class="dot c{number % COLOURS}" cx="{x.position(float(at[i])):.1f}" '
                f'cy="{y.position(float(values[i])):.1f}" r="2.5"><title>{html_text(name)}: '
                f"{values[i]:.4g} at {at[i]:g}</title></circle>"
            )
