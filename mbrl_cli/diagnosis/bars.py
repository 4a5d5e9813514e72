"""Bars of a diagnosis with their 95 % intervals, drawn in one figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bars:
    """One value for each name, such as the difference that a true part makes.

    Attributes:
        title: what the figure shows.
        y_label: name and unit of the values.
        names: of the bars.
        values: one for each name; NaN: could not be measured.
        low: lower ends of the 95 % intervals; NaN: no interval.
        high: upper ends.
    """

    title: str
    y_label: str
    names: list[str]
    values: list[float]
    low: list[float]
    high: list[float]
