"""Whether the return fell during training, and which logged quantity changed before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.api.metrics_file import Series

MIN_EVALUATIONS = 6
MIN_POINTS = 8  # of a logged series
FALL = 0.25  # of the distance between the lowest and the highest return
NOISE = 3.0  # standard errors
CHANGE = 4.0  # t statistic of a change point


class ReturnFall(NamedTuple):
    """A fall of the evaluated return.

    Attributes:
        peak: highest mean of three evaluations in a row.
        last: mean of the last three evaluations.
        step: environment step of the fall.
    """

    peak: float
    last: float
    step: int


class Change(NamedTuple):
    """A change of a logged series: its step, and its means before and after."""

    tag: str
    step: int
    before: float
    after: float


def return_fall(step: NDArray[np.int64], value: NDArray[np.float64]) -> ReturnFall | None:
    """Return the fall of a series of evaluations; None: it did not fall beyond its noise."""
    if len(value) < MIN_EVALUATIONS:
        return None
    means = np.convolve(value, np.ones(3) / 3.0, "valid")  # of evaluations k, k + 1, k + 2
    top = int(means[:-3].argmax()) if len(means) > 3 else 0
    peak, last = float(means[top]), float(means[-1])
    # Differences of neighbours are noise times sqrt(2); their median ignores the fall itself.
    noise = float(np.median(np.abs(np.diff(value)))) / (0.6745 * math.sqrt(2.0))
    error = noise * math.sqrt(2.0 / 3.0)
    if peak - last <= max(NOISE * error, FALL * float(np.ptp(value))):
        return None
    after = means[top:]
    below = int(np.flatnonzero(after < (peak + last) / 2.0)[0])
    return ReturnFall(peak, last, int(step[top + below + 1]))


def changes(series: Mapping[str, Series]) -> list[Change]:
    """Return the largest change of each logged series that has a clear one, the earliest first.

    A change point is the split into two parts with the largest t statistic of their means.
    """
    found = []
    for tag, logged in series.items():
        value = np.asarray(logged["value"], np.float64)
        finite = np.isfinite(value)
        value, step = value[finite], np.asarray(logged["env_step"])[finite]
        if len(value) < MIN_POINTS:
            continue
        splits = range(3, len(value) - 2)
        statistics = [_t_statistic(value[:k], value[k:]) for k in splits]
        best = int(np.argmax(statistics))
        if statistics[best] >= CHANGE:
            k = splits[best]
            found.append(
                Change(tag, int(step[k]), float(value[:k].mean()), float(value[k:].mean()))
            )
    return sorted(found, key=lambda change: change.step)


def _t_statistic(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    variance = left.var(ddof=1) / len(left) + right.var(ddof=1) / len(right)
    return float(abs(left.mean() - right.mean()) / math.sqrt(variance + 1e-24))
