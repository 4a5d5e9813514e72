"""Shapley shares: how much each of several interacting parts contributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray


def shapley_shares(
    parts: Sequence[str], values: Mapping[frozenset[str], NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the share of each part; the shares sum to values[all] - values[none].

    The share is the mean gain of a part over all orders in which the parts can be replaced
    (Shapley 1953).

    Args:
        parts: names of the parts.
        values: result of each subset of replaced parts, arrays of equal shape, such as one return
            for each episode.
    """
    total = len(parts)
    shares: dict[str, NDArray[np.float64]] = {}
    for part in parts:
        others = [name for name in parts if name != part]
        share = np.zeros_like(values[frozenset()])
        for size in range(total):
            weight = factorial(size) * factorial(total - size - 1) / factorial(total)
            for subset in combinations(others, size):
                without = frozenset(subset)
                share = share + weight * (values[without | {part}] - values[without])
        shares[part] = share
    return shares
