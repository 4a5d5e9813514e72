"""95 % intervals of differences between episodes that start in the same states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.reports.aggregates import mean
from mbrl_cli.reports.bootstrap import bootstrap_interval

SEED = 0  # of the resamples


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
