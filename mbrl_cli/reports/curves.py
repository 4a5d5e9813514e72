"""Curves of one metric over environment steps, and what is read from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_POINTS = 200  # of a curve in a figure
LARGEST = 1e100  # larger values count as infinite: their variance has no finite float


class Curve(NamedTuple):
    """The values of one metric of one run."""

    steps: np.ndarray  # [n] environment steps, increasing
    values: np.ndarray  # [n]


def clean_curve(steps: np.ndarray, values: np.ndarray) -> Curve:
    """Return the finite values in the order of steps; the last value counts for a repeated step."""
    finite = np.abs(values) < LARGEST
    steps, values = steps[finite], values[finite]
    unique, reversed_index = np.unique(steps[::-1], return_index=True)
    return Curve(unique, values[::-1][reversed_index])


def align(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps [T] and the values [T, runs] of curves that have different steps.

    The steps are the union of all steps within the range that every run covers; values between two
    points of a run are interpolated linearly. T is 0 if no step lies in this range. Of more than
    `MAX_POINTS` steps evenly spaced ones are kept, the first and the last among them.
    """
    first = max(curve.steps[0] for curve in curves)
    last = min(curve.steps[-1] for curve in curves)
    union = np.unique(np.concatenate([curve.steps for curve in curves]))
    grid = union[(union >= first) & (union <= last)]
    if len(grid) > MAX_POINTS:
        grid = grid[np.linspace(0, len(grid) - 1, MAX_POINTS).round().astype(int)]
    values = [np.interp(grid, curve.steps, curve.values) for curve in curves]
    return grid, np.stack(values, -1)


def value_at(curve: Curve, step: float | None) -> float | None:
    """Return the value at a step, interpolated; None outside of the curve. Step None: the last."""
    if step is None:
        return float(curve.values[-1])
    if not curve.steps[0] <= step <= curve.steps[-1]:
        return None
    return float(np.interp(step, curve.steps, curve.values))


def first_step_at(curve: Curve, threshold: float, lower_is_better: bool) -> int | None:
    """Return the first logged step whose value reaches the threshold; None if none does."""
    reached = curve.values <= threshold if lower_is_better else curve.values >= threshold
    return int(curve.steps[reached.argmax()]) if reached.any() else None
