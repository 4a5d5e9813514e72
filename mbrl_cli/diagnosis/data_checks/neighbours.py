"""Pairs of similar transitions from different parts of the data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


def nearest(queries: Array, points: Array, allowed: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], Array]:
    """Return the index of the nearest point [q] and its distance [q] for each query.

    Args:
        queries: [q, d].
        points: [p, d].
        allowed: [q, p] which points count; None: all.
    """
    distance = torch.cdist(torch.from_numpy(queries), torch.from_numpy(points))
    if allowed is not None:
        distance[~torch.from_numpy(allowed)] = torch.inf
    value, index = distance.min(1)
    return index.numpy(), value.numpy()
