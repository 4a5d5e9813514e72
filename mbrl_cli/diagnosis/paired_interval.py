"""95 % intervals of differences between episodes that start in the same states."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.reports.aggregates import mean
from mbrl_cli.reports.bootstrap import TAILS, bootstrap_interval
from mbrl_cli.reports.student_t import t_quantile

SEED = 0  # of the resamples
UNSEEN = 0.5  # pairs that are counted beside the observed ones


class PairedInterval(NamedTuple):
    """A mean difference and its 95 % interval; without width if all differences are equal."""

    mean: float
    low: float
    high: float

    @property
    def is_positive(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0.0

    @property
    def is_negative(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.high < 0.0


def paired_interval(differences: NDArray[np.float64]) -> PairedInterval:
    """Return the interval of the mean of differences [n]; NaN limits for one episode.

    The bootstrap resamples pairs of episodes. It is widened for few pairs as that of
    `mbrl compare`, see `reports/bootstrap.py`.
    """
    interval = bootstrap_interval([differences], mean, np.random.default_rng(SEED))
    return PairedInterval(float(differences.mean()), float(interval.low), float(interval.high))


def gain_interval(returns: NDArray[np.float64], base: NDArray[np.float64]) -> PairedInterval:
    """Return the interval of the mean gain of returns [n] over base [n]; NaN limits for one pair.

    Two variants often act alike in most episodes and differently in one of twenty, where one of
    them fails. Few pairs hold no such episode, and their differences alone give an interval that is
    too short. The variance therefore counts half a pair more, which differs as much as two
    episodes that have nothing in common. Half a count is Jeffreys' prior of a rare event.

    Args:
        returns: of a variant.
        base: of the saved agent, from the same first states.
    """
    interval = paired_interval(returns - base)
    pairs = len(base)
    if pairs < 2:
        return interval
    unpaired = float(returns.var(ddof=1) + base.var(ddof=1))
    extra = t_quantile(TAILS[1], pairs - 1) * math.sqrt(UNSEEN * unpaired / (pairs * (pairs - 1)))
    return PairedInterval(
        interval.mean,
        interval.mean - math.hypot(interval.mean - interval.low, extra),
        interval.mean + math.hypot(interval.high - interval.mean, extra),
    )
