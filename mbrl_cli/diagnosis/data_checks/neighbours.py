"""Pairs of similar transitions from different parts of the data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


def nearest_pairs(
    queries: Array,
    points: Array,
    rng: np.random.Generator,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return pairs (query, nearest point, distance); each point is in at most one pair.

    A point that is the nearest of several queries would make their pairs depend on each other, so
    it stays with the nearest of them. Equal distances are decided at random.

    Args:
        queries: [q, d].
        points: [p, d].
        rng: decides equal distances.
        allowed: [q, p] which points count; None: all.
    """
    distance = torch.cdist(torch.from_numpy(queries), torch.from_numpy(points))
    distance += torch.from_numpy(rng.uniform(0.0, 1e-6, distance.shape))
    if allowed is not None:
        distance[~torch.from_numpy(allowed)] = torch.inf
    value, index = (part.numpy() for part in distance.min(1))
    order = np.argsort(value)
    order = order[np.isfinite(value[order])]
    _, first = np.unique(index[order], return_index=True)
    query = np.sort(order[first])
    return query, index[query], value[query]
