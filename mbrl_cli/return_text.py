"""Returns as text for the console."""

from __future__ import annotations

import math

import numpy as np

LARGE, SMALL = 1e6, 1e-4  # outside of this range numbers are written with an exponent


def format_return(value: float, scale: float | None = None) -> str:
    """Return a return with one decimal, or with three significant digits if it is below 10.

    Args:
        value: the number.
        scale: size of the numbers beside it, which get the same decimals; None: of `value`.
    """
    size = abs(value) if scale is None else scale
    if not math.isfinite(value) or not math.isfinite(size):
        return str(value)
    if size and not SMALL <= size < LARGE:
        return f"{value:.3g}" if value else "0"
    decimals = 1 if size >= 10 or size == 0 else 2 - math.floor(math.log10(size))
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0 turns -0.0 into 0.0


def format_mean_and_std(returns: np.ndarray) -> str:
    """Return 'mean ± standard deviation' of returns [episodes], with equal decimals."""
    mean, std = float(returns.mean()), float(returns.std())
    scale = max(abs(mean), std)
    spread = format_return(std, scale)
    if std > 0 and float(spread) == 0:  # far below the mean: digits of its own
        spread = format_return(std)
    return f"{format_return(mean, scale)} ± {spread}"
