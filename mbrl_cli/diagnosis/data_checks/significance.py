"""Whether one model predicts better than another, over pieces of episodes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.reports.student_t import t_probability

# All checks together raise a false alarm in at most 5 % of the runs if each one has this level.
NUM_CHECKS = 12
LEVEL = 0.05 / NUM_CHECKS
MIN_UNITS = 8


def unit_means(values: NDArray[np.float64], unit: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of values [n] in each unit; units with fewer than 3 rows give none."""
    index, inverse, counts = np.unique(unit, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse, values, len(index))
    enough = counts >= min(3, int(counts.max()))
    means: NDArray[np.float64] = sums[enough] / counts[enough]
    return means


def p_above_zero(values: NDArray[np.float64], unit: NDArray[np.int64]) -> float:
    """Return the one-sided p-value of a t test that the mean of values [n] is at most 0.

    Each unit gives one number, its mean. With fewer than 8 units the result is 1.
    """
    means = unit_means(values, unit)
    if len(means) < MIN_UNITS:
        return 1.0
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    if error == 0.0:
        return 0.0 if means[0] > 0.0 else 1.0
    return upper_tail(float(means.mean()) / error, len(means) - 1)


def upper_tail(t: float, degrees: int) -> float:
    """Return the probability of a value of Student's t above `t`."""
    if t < 0.0:
        return t_probability(-t, degrees)
    return max(0.0, 1.0 - t_probability(t, degrees))


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """Return the probability of at least `successes` successes."""
    return math.fsum(
        math.comb(trials, k) * probability**k * (1.0 - probability) ** (trials - k)
        for k in range(successes, trials + 1)
    )


def confidence(p_value: float) -> float:
    """Return how sure a finding with this p-value is, corrected for the number of checks."""
    return float(np.clip(1.0 - NUM_CHECKS * p_value, 0.5, 0.999))
