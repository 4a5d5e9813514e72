"""Distance of predicted probabilities from observed frequencies.

Source: Kuleshov et al. 2018, "Accurate uncertainties for deep learning using calibrated
regression", section 2 (calibration of quantiles).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 100  # quantile levels from 0 to 1 at which the calibration curve is evaluated


def miscalibration_area(pit: NDArray[np.float64]) -> float:
    """Return the area between the calibration curve and the diagonal; 0 is best, 0.5 is worst.

    The curve maps a level p to the fraction of outcomes below the predicted p-quantile.

    Args:
        pit: probability integral transform of n outcomes [n].
    """
    level = np.linspace(0.0, 1.0, LEVELS)
    below = np.searchsorted(np.sort(pit), level, side="right") / len(pit)
    return float(np.trapezoid(np.abs(below - level), level))
