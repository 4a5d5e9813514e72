"""95 % intervals by a stratified bootstrap that holds for few runs.

Runs are drawn with replacement within each environment (Agarwal et al. 2021), and the percentiles
of the statistic over the draws are its interval. With few runs this interval is too short: a
mean of 5 runs lies inside in 85 % of the experiments. Both sides are therefore multiplied by

    sqrt(variance / variance_of_the_bootstrap) * t / z

The first factor is sqrt(n / (n - 1)) for n runs; it is left out for the IQM, whose variance the
bootstrap does not underestimate. t and z are the 97.5 % quantiles of Student's t distribution and
of the normal distribution, so a symmetric interval of a mean is as wide as the t interval.
Hesterberg 2015 (What teachers should know about the bootstrap) derives both corrections.
docs/compare.md has the measured coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mbrl_cli.reports.aggregates import Aggregate, iqm
from mbrl_cli.reports.student_t import t_quantile

RESAMPLES = 2000
TAILS = (0.025, 0.975)
NORMAL_QUANTILE = 1.959963984540054  # of 0.975
MAX_NUMBERS = 2**22  # resampled at once: 32 MiB


class Interval(NamedTuple):
    """Both ends of a 95 % interval, arrays of equal shape; NaN where a stratum has one run."""

    low: np.ndarray
    high: np.ndarray


def bootstrap_interval(
    strata: Sequence[np.ndarray], statistic: Aggregate, rng: np.random.Generator
) -> Interval:
    """Return the 95 % interval of a statistic.

    Args:
        strata: results [..., runs] of each environment, or of each environment and group; all
            leading axes are equal.
        statistic: maps the strata to [...].
        rng: draws the resamples; the same ones are used along the leading axes.
    """
    estimate = statistic(strata)
    percentiles = percentile_interval(strata, statistic, rng)
    factor = widening(strata, scale_variance=statistic is not iqm)
    low = estimate - factor * (estimate - percentiles.low)
    high = estimate + factor * (percentiles.high - estimate)
    return Interval(low, high)


def percentile_interval(
    strata: Sequence[np.ndarray], statistic: Aggregate, rng: np.random.Generator
) -> Interval:
    """Return the percentile interval, which is too short for few runs; see `bootstrap_interval`.

    The draws are those of `scipy.stats.bootstrap` with the same generator.
    """
    drawn = [  # [resamples, runs]
        rng.integers(0, stratum.shape[-1], (RESAMPLES, stratum.shape[-1])) for stratum in strata
    ]
    shape = strata[0].shape[:-1]
    flat = [stratum.reshape(-1, stratum.shape[-1]) for stratum in strata]  # [P, runs]
    runs = sum(stratum.shape[-1] for stratum in strata)
    rows = max(1, MAX_NUMBERS // (RESAMPLES * runs))
    limits = []
    for start in range(0, len(flat[0]), rows):
        resampled = [
            stratum[start : start + rows][:, index]  # [rows, resamples, runs]
            for stratum, index in zip(flat, drawn, strict=True)
        ]
        limits.append(np.quantile(statistic(resampled), TAILS, axis=-1))  # [2, rows]
    low, high = np.concatenate(limits, -1)
    return Interval(low.reshape(shape), high.reshape(shape))


def widening(strata: Sequence[np.ndarray], scale_variance: bool = True) -> np.ndarray:
    """Return the factor [...] by which the percentile interval is multiplied.

    The degrees of freedom of t are those of Welch 1947 for a sum over strata, rounded down. The
    factor is NaN if a stratum has one run, and 1 if all runs of each stratum are equal.

    Args:
        strata: results [..., runs]; see `bootstrap_interval`.
        scale_variance: whether the variance of the bootstrap is corrected, too.
    """
    counts = np.array([stratum.shape[-1] for stratum in strata])  # [K]
    if counts.min() < 2:
        return np.full(strata[0].shape[:-1], np.nan)
    variance = np.stack([stratum.var(-1, ddof=1) / stratum.shape[-1] for stratum in strata], -1)
    total = variance.sum(-1)  # [...], of the mean
    of_bootstrap = (variance * (counts - 1) / counts).sum(-1)
    scale = np.where(total > 0, total, 1.0)
    share = variance / scale[..., None]
    degrees = 1.0 / np.maximum((share**2 / (counts - 1)).sum(-1), 1.0 / (counts - 1).sum())
    # A rounding error must not turn 4 degrees into 3.
    whole = np.floor(degrees + 1e-9).astype(int)
    quantiles = {int(d): t_quantile(TAILS[1], int(d)) for d in np.unique(whole)}
    t = np.vectorize(quantiles.__getitem__, otypes=[float])(whole)
    factor = t / NORMAL_QUANTILE
    if scale_variance:
        factor = factor * np.sqrt(scale / np.where(total > 0, of_bootstrap, 1.0))
    return np.where(total > 0, factor, 1.0)
