"""Scores of predictions that are given as equally or unequally likely samples.

Sources: Gneiting and Raftery 2007, equation 21 (CRPS); Hamill 2001, "Interpretation of rank
histograms for verifying ensemble forecasts" (the rank of the outcome among S samples is uniform).

Axes: S samples, in ascending order; `...` any leading axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sample_pit(samples: Array, outcome: Array) -> Array:
    """Return the predicted probability [...] of a lower outcome, from its place among samples.

    The i-th of S samples has the level i / (S + 1), which is linear in between. Equal samples have
    the mean of their levels. An outcome outside of all samples has the middle of what is left.

    Args:
        samples: [..., S], ascending.
        outcome: [...].
    """
    count = samples.shape[-1]
    lower = (samples < outcome[..., None]).sum(-1)
    equal = (samples == outcome[..., None]).sum(-1)
    left = np.take_along_axis(samples, np.maximum(lower - 1, 0)[..., None], -1)[..., 0]
    right = np.take_along_axis(samples, np.minimum(lower, count - 1)[..., None], -1)[..., 0]
    gap = right - left
    part = np.where(gap > 0.0, (outcome - left) / np.where(gap > 0.0, gap, 1.0), 0.5)
    place = np.select(
        [equal > 0, lower == 0, lower == count],
        [lower + 0.5 * (equal + 1), np.full(lower.shape, 0.5), np.full(lower.shape, count + 0.5)],
        lower + part,
    )
    pit: Array = place / (count + 1)
    return pit


def sample_crps(samples: Array, outcome: Array, weight: Array | None = None) -> Array:
    """Return the continuous ranked probability score [...]; 0 is best, its unit is the outcome's.

    It is E|X - y| - E|X - X'| / 2 for independent X and X' of the predicted distribution.

    Args:
        samples: [..., S], ascending.
        outcome: [...].
        weight: [S] probability of each sample; None: equal ones.
    """
    count = samples.shape[-1]
    probability = np.full(count, 1.0 / count) if weight is None else weight
    distance = np.abs(samples - outcome[..., None]) @ probability
    # E|X - X'| / 2 = sum of x_i p_i (P(below i) - P(above i)) for ascending samples.
    below = probability.cumsum() - probability
    above = 1.0 - below - probability
    crps: Array = distance - samples @ (probability * (below - above))
    return crps


def sample_std(samples: Array, weight: Array | None = None) -> Array:
    """Return the standard deviation [...] of the predicted distribution; see `sample_crps`."""
    if weight is None:
        equal: Array = samples.std(-1)
        return equal
    mean = samples @ weight
    std: Array = np.sqrt(np.maximum((samples - mean[..., None]) ** 2 @ weight, 0.0))
    return std
