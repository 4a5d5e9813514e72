"""Recalibration of predicted probabilities by isotonic regression.

Source: Kuleshov et al. 2018, "Accurate uncertainties for deep learning using calibrated
regression", algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Recalibration:
    """Map a predicted probability p to the fraction of outcomes below the predicted p-quantile.

    The isotonic regression has one point for each outcome: its PIT, and the fraction of all
    outcomes whose PIT is not higher. These fractions never fall, so the regression passes through
    all points. Between them, and from (0, 0) and to (1, 1), it is linear.
    """

    def __init__(self, pit: Array) -> None:
        """Fit to the PIT [n] of outcomes that the model has not seen."""
        levels, counts = np.unique(pit, return_counts=True)
        self.levels = np.concatenate([[0.0], levels, [1.0]])
        self.fractions = np.concatenate([[0.0], counts.cumsum() / len(pit), [1.0]])

    def __call__(self, probability: Array) -> Array:
        """Return the recalibrated probabilities [...]."""
        recalibrated: Array = np.interp(probability, self.levels, self.fractions)
        return recalibrated

    def sample_weights(self, samples: int) -> Array:
        """Return the probability [S] of each of S ascending samples that were equally likely."""
        weights: Array = np.diff(self(np.linspace(0.0, 1.0, samples + 1)))
        return weights
