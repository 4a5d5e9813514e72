"""Ridge regression whose errors are measured on episodes that it was not fitted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FOLDS = 5
PENALTIES = (1e-9, 1e-6, 1e-4, 1e-2, 1.0)  # relative to the number of rows


def folds_of(episode: NDArray[np.int64], unit: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold [n] of each row: by episode, or by unit if there are few episodes."""
    group = episode if len(np.unique(episode)) >= 2 * FOLDS else unit
    _, inverse = np.unique(group, return_inverse=True)
    folds: NDArray[np.int64] = inverse % FOLDS
    return folds


def standardized(columns: Array) -> Array:
    """Return columns [n, d] with mean 0 and variance 1, cut at 5; constant ones are left out."""
    spread = columns.std(0)
    varies = spread > 1e-9 * (1.0 + np.abs(columns).max(0, initial=0.0))
    kept = columns[:, varies]
    scaled: Array = ((kept - kept.mean(0)) / spread[varies]).clip(-5.0, 5.0)
    return scaled


def pairs(left: Array, right: Array) -> Array:
    """Return all products [n, p * q] of columns [n, p] and [n, q]."""
    return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)


def quadratic(columns: Array) -> Array:
    """Return the columns [n, d] and all their products [n, d + d (d + 1) / 2]."""
    first, second = np.triu_indices(columns.shape[1])
    return np.concatenate([columns, columns[:, first] * columns[:, second]], 1)


def quadratic_if_small(columns: Array, max_features: int) -> Array:
    """Return `quadratic`, or the columns and their squares, or the columns alone."""
    width = columns.shape[1]
    if width * (width + 3) // 2 <= max_features:
        return quadratic(columns)
    if 2 * width <= max_features:
        return np.concatenate([columns, columns**2], 1)
    return columns


def held_out_residuals(
    features: Array, targets: Array, fold: NDArray[np.int64], intercept: bool = True
) -> Array:
    """Return residuals [n, m] of ridge regressions that were fitted without the row's fold.

    Args:
        features: [n, p], without a column of ones.
        targets: [n, m].
        fold: [n] from `folds_of`.
        intercept: whether the prediction for features of 0 may differ from 0.
    """
    varies = features.std(0) > 1e-12
    kept = features[:, varies]
    if intercept:
        kept = kept - kept.mean(0)
    design = np.concatenate([kept / features[:, varies].std(0), np.ones((len(kept), 1))], 1)
    design[:, -1] *= intercept  # [n, p + 1]
    grams, moments = [], []
    for k in range(FOLDS):
        rows = fold == k
        grams.append(design[rows].T @ design[rows])
        moments.append(design[rows].T @ targets[rows])
    gram, moment = np.sum(grams, 0), np.sum(moments, 0)
    best = np.full(targets.shape[1], np.inf)
    residuals = targets.copy()
    solutions = [_eigen(gram - grams[k], moment - moments[k]) for k in range(FOLDS)]
    for penalty in PENALTIES:
        candidate = np.empty_like(targets)
        for k in range(FOLDS):
            rows = fold == k
            values, vectors, projected = solutions[k]
            weights = vectors @ (projected / (values + penalty * len(targets))[:, None])
            candidate[rows] = targets[rows] - design[rows] @ weights
        error = np.minimum(candidate**2, 25.0 * (targets**2).mean(0)).mean(0)  # [m]
        better = error < best
        residuals[:, better] = candidate[:, better]
        best = np.minimum(best, error)
    return residuals


def _eigen(gram: Array, moment: Array) -> tuple[Array, Array, Array]:
    values, vectors = np.linalg.eigh(gram)
    return values.clip(0.0), vectors, vectors.T @ moment
