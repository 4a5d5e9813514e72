"""Axis of a chart: ticks at round numbers, and their positions."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ChartAxis:
    """Maps values from `low` to `high` to positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Return the position of a value; values outside of the axis are put at its ends."""
        fraction = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + fraction * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Return about `count` round values on the axis."""
        raw = (self.high - self.low) / max(count, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.99)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def fitted_axis(low: float, high: float, start: float, end: float) -> ChartAxis:
    """Return an axis that shows all values from `low` to `high` with a margin of 4 %."""
    if high <= low:
        size = abs(low) * 0.1 or 1.0
        low, high = low - size, high + size
    margin = 0.04 * (high - low)
    return ChartAxis(low - margin, high + margin, start, end)


def tick_text(value: float) -> str:
    """Return a short text: 500, 2,000, 20k, 1.5M, 0.25."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e4:
        return f"{value / 1e3:g}k"
    if size >= 1e3:
        return f"{value:,.0f}"
    return f"{value:g}"
