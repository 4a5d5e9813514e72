"""Rank correlation (Spearman 1904)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the correlation of the ranks of two samples [n]; NaN if one of them is constant."""
    ranks = [_ranks(first), _ranks(second)]
    if len(first) < 2 or any(rank.std() == 0.0 for rank in ranks):
        return float("nan")
    matrix = np.asarray(np.corrcoef(np.stack(ranks)))  # [2, 2]
    return float(matrix[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 0 on; equal values share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    shared: NDArray[np.float64] = (last - 0.5 * (counts + 1))[index]
    return shared
