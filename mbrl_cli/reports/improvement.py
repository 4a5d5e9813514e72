"""Probability of improvement: how often a run of one group is better than a run of another.

It is the Mann-Whitney statistic P(X > Y) + P(X = Y) / 2 (Agarwal et al. 2021, section 4.3). The
interval is method 5 of Newcombe 2006 (Confidence intervals for an effect size measure based on the
Mann-Whitney statistic, part 2). It has a width where every run of one group is better than every
run of the other; a bootstrap gives the interval [1, 1] there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mbrl_cli.reports.bootstrap import NORMAL_QUANTILE


class Improvement(NamedTuple):
    """Probability that the first group is better than the second, with its 95 % interval."""

    probability: float
    low: float
    high: float


def probability_of_improvement(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray]
) -> Improvement:
    """Compare two groups; for several environments the mean of their probabilities is returned.

    The interval of the mean combines those of the environments (MOVER, Zou and Donner 2008).

    Args:
        first: results [runs] of the first group in each environment; larger is better.
        second: results [runs] of the second group.
    """
    parts = [_compare(x, y) for x, y in zip(first, second, strict=True)]
    probability = float(np.mean([part.probability for part in parts]))
    below = np.sqrt(sum((part.probability - part.low) ** 2 for part in parts)) / len(parts)
    above = np.sqrt(sum((part.high - part.probability) ** 2 for part in parts)) / len(parts)
    return Improvement(probability, float(probability - below), float(probability + above))


def _compare(x: np.ndarray, y: np.ndarray) -> Improvement:
    ordered = np.sort(y)
    smaller = np.searchsorted(ordered, x, side="left")
    smaller_or_equal = np.searchsorted(ordered, x, side="right")
    probability = float((smaller + smaller_or_equal).mean() / (2 * len(y)))
    low = 1.0 - _upper_end(1.0 - probability, len(x), len(y))
    return Improvement(probability, low, _upper_end(probability, len(x), len(y)))


def _upper_end(estimate: float, m: int, n: int) -> float:
    """Return the largest probability p with |p - estimate| <= z * (standard error of p)."""
    size = (m + n) / 2 - 1
    low, high = estimate, 1.0
    for _ in range(50):
        p = (low + high) / 2
        spread = 1 + size * (1 - p) / (2 - p) + size * p / (1 + p)
        if (p - estimate) ** 2 <= NORMAL_QUANTILE**2 * p * (1 - p) * spread / (m * n):
            low = p
        else:
            high = p
    return (low + high) / 2
