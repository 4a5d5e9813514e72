"""Statistics of the results of several runs, for one environment or for several.

Each function takes one array per environment. Its last axis holds the runs; leading axes, such as
the points of a curve or the resamples of a bootstrap, are kept. The definitions are those of
Agarwal et al. 2021 (Deep reinforcement learning at the edge of the statistical precipice), except
that the median is taken over all runs and not over the means of the environments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Aggregate = Callable[[Sequence[np.ndarray]], np.ndarray]  # [..., runs] per environment -> [...]


def mean(results: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of the environments' means."""
    return np.asarray(np.mean([result.mean(-1) for result in results], axis=0))


def median(results: Sequence[np.ndarray]) -> np.ndarray:
    """Return the median of all runs."""
    return np.asarray(np.median(np.concatenate(results, -1), -1))


def iqm(results: Sequence[np.ndarray]) -> np.ndarray:
    """Return the interquartile mean: the mean of all runs without the lowest and highest quarter.

    A quarter is rounded down to whole runs: of five runs the middle three count.
    """
    runs = np.sort(np.concatenate(results, -1), -1)
    cut = runs.shape[-1] // 4
    return np.asarray(runs[..., cut : runs.shape[-1] - cut].mean(-1))


def optimality_gap(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean distance to the best score, 1; scores above 1 count as 1."""
    return mean([np.maximum(0.0, 1.0 - score) for score in scores])


def difference(results: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of the first half of the arrays minus the mean of the second half."""
    half = len(results) // 2
    return np.asarray(mean(results[:half]) - mean(results[half:]))
