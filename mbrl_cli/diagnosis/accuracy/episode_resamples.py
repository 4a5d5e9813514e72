"""Intervals by resampling whole episodes, because the steps of an episode depend on each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 1000
SEED = 0  # of the resamples, so that the same run gives the same text
TAILS = (0.025, 0.975)


class Estimated(NamedTuple):
    """An estimate with its resampled values; one episode gives no interval."""

    value: float
    resampled: Array  # [R]; empty for one episode
    episodes: int

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval; NaN for one episode."""
        return float(np.nanquantile(self.resampled, TAILS[0])) if self._has_interval else np.nan

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval; NaN for one episode."""
        return float(np.nanquantile(self.resampled, TAILS[1])) if self._has_interval else np.nan

    @property
    def _has_interval(self) -> bool:
        return bool(np.isfinite(self.resampled).any())

    def confidence(self, holds: Callable[[Array], NDArray[np.bool_]]) -> float:
        """Return the share of resamples for which a statement holds; 0.5 for one episode."""
        finite = self.resampled[np.isfinite(self.resampled)]
        return float(holds(finite).mean()) if len(finite) else 0.5

    def text(self, digits: int = 2) -> str:
        """Return the estimate with its interval for a sentence."""
        value = f"{self.value:.{digits}g}"
        if not self._has_interval:
            return f"{value} (one episode)"
        return f"{value} (95 % interval {self.low:.{digits}g} to {self.high:.{digits}g})"


def resample(
    episode: NDArray[np.int64],
    columns: Array,
    statistic: Callable[[Array], Array],
) -> Estimated:
    """Return a statistic of sums over transitions, and its values over resampled episodes.

    Args:
        episode: [n] index of the episode of each transition.
        columns: [n, C] what is summed over the transitions.
        statistic: maps sums [..., C] to values [...].
    """
    present, index = np.unique(episode, return_inverse=True)
    sums = np.zeros((len(present), columns.shape[1]))
    np.add.at(sums, index, columns)  # [E, C]
    value = float(statistic(sums.sum(0)))
    if len(present) < 2:
        return Estimated(value, np.zeros(0), len(present))
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, len(present), (RESAMPLES, len(present)))
    return Estimated(value, np.asarray(statistic(sums[drawn].sum(1))), len(present))


def mean_of(sums: Array) -> Array:
    """Return column 0 / column 1 of sums [..., 2]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Array = sums[..., 0] / sums[..., 1]
    return ratio


def root_of_ratio(sums: Array) -> Array:
    """Return the square root of column 0 / column 1 of sums [..., 2]."""
    root: Array = np.sqrt(mean_of(sums))
    return root
