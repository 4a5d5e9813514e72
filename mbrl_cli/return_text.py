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


def bootstrap_interval(
    returns: np.ndarray, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of returns [episodes].

    It stays within the range of the data, which a t interval leaves where returns are bounded. Its
    random numbers have a fixed seed.
    """
    rng = np.random.Generator(np.random.PCG64(0))
    rows = rng.integers(len(returns), size=(resamples, len(returns)))
    means = returns[rows].mean(1)  # [resamples]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def format_mean_and_interval(returns: np.ndarray) -> str:
    """Return 'mean, 95 % interval low to high' of returns [episodes], with equal decimals.

    A single episode has no interval.
    """
    mean = float(returns.mean())
    if len(returns) < 2:
        return format_return(mean)
    low, high = bootstrap_interval(returns)
    scale = max(abs(mean), abs(low), abs(high))
    shown_mean, shown_low, shown_high = (format_return(x, scale) for x in (mean, low, high))
    return f"{shown_mean}, 95 % interval {shown_low} to {shown_high}"
