"""Curves and bars of a diagnosis as images, for TensorBoard; pillow comes with TensorBoard."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.reports.chart_axis import ChartAxis, fitted_axis, tick_text
from mbrl_cli.reports.html_page import LIGHT
from mbrl_cli.reports.svg_parts import short_label

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 34, 50
ROW = 34
BAR = 16  # height of a bar in pixels
TEXT, GRID, FAINT = "#1d2126", "#d8dce1", "#b7d4e8"
FONT_SIZE = 14


def curve_image(curve: Curve) -> NDArray[np.uint8] | None:
    """Return the lines and their legend as [height, width, 3]; None if no value is finite."""
    values = np.concatenate([np.zeros(0), *curve.lines.values()])
    values = values[np.isfinite(values)]
    if not len(values) or not len(curve.x):
        return None
    legend = (FONT_SIZE + 6) * len(curve.lines)
    image, draw = _canvas(HEIGHT + legend, curve.title)
    y = fitted_axis(float(values.min()), float(values.max()), HEIGHT - BOTTOM, TOP + 20)
    first, last = float(np.nanmin(curve.x)), float(np.nanmax(curve.x))
    x = ChartAxis(first, last if last > first else first + 1.0, LEFT, WIDTH - RIGHT)
    for tick in y.ticks(6):
        height = y.position(tick)
        draw.line([(x.start, height), (x.end, height)], GRID)
        draw.text((x.start - 8, height), tick_text(tick), TEXT, _font(), "rm")
    draw.text((8, TOP), curve.y_label, TEXT, _font(), "lm")
    _horizontal_axis(draw, x, y.end, y.start, curve.x_label)
    for number, (name, line) in enumerate(curve.lines.items()):
        colour = LIGHT[number % len(LIGHT)]
        points = [
            (x.position(at), y.position(value))
            for at, value in zip(curve.x.tolist(), line.tolist(), strict=True)
            if math.isfinite(value)
        ]
        draw.line(points, colour, 2)
        for point in points:
            draw.circle(point, 2.5, colour)
        height = HEIGHT + (FONT_SIZE + 6) * number
        draw.line([(LEFT, height), (LEFT + 26, height)], colour, 3)
        draw.text((LEFT + 36, height), name, TEXT, _font(), "lm")
    return np.asarray(image)


def bars_image(bars: Bars) -> NDArray[np.uint8] | None:
    """Return one bar from 0 to each value with its interval; None if no value is finite."""
    shown = [i for i, value in enumerate(bars.values) if math.isfinite(value)]
    if not shown:
        return None
    ends = [end[i] for end in (bars.values, bars.low, bars.high) for i in shown]
    finite = [0.0, *(end for end in ends if math.isfinite(end))]
    bottom = TOP + ROW * len(shown)
    image, draw = _canvas(bottom + BOTTOM, bars.title)
    names = [short_label(bars.names[i]) for i in shown]
    left = 24 + max(_font().getlength(name) for name in names)
    x = fitted_axis(min(finite), max(finite), left, WIDTH - RIGHT)
    _horizontal_axis(draw, x, TOP, bottom, bars.y_label)
    zero = x.position(0.0)
    for row, i in enumerate(shown):
        centre, end = TOP + ROW * (row + 0.5), x.position(bars.values[i])
        draw.text((left - 12, centre), names[row], TEXT, _font(), "rm")
        sides = sorted((zero, end))
        draw.rectangle([sides[0], centre - BAR / 2, sides[1], centre + BAR / 2], FAINT)
        if math.isfinite(bars.low[i]) and math.isfinite(bars.high[i]):
            low, high = x.position(bars.low[i]), x.position(bars.high[i])
            draw.line([(low, centre), (high, centre)], LIGHT[0], 3)
        draw.circle((end, centre), 5, LIGHT[0])
    draw.line([(zero, TOP), (zero, bottom)], TEXT)
    return np.asarray(image)


def _canvas(height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((8, 12), title, TEXT, _font(), "lm")
    return image, draw


def _horizontal_axis(
    draw: ImageDraw.ImageDraw, x: ChartAxis, top: float, bottom: float, label: str
) -> None:
    for tick in x.ticks(6):
        position = x.position(tick)
        draw.line([(position, top), (position, bottom)], GRID)
        draw.text((position, bottom + 12), tick_text(tick), TEXT, _font(), "mm")
    draw.line([(x.start, bottom), (x.end, bottom)], TEXT)
    draw.text(((x.start + x.end) / 2, bottom + 32), label, TEXT, _font(), "mm")


def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(FONT_SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
