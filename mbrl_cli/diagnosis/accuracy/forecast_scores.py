"""Calibration of one forecast by entry, before and after recalibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.accuracy.forecast import Forecast
from mbrl_cli.diagnosis.accuracy.miscalibration import miscalibration_area
from mbrl_cli.diagnosis.accuracy.recalibration import Recalibration
from mbrl_cli.diagnosis.accuracy.sample_scores import sample_crps, sample_pit, sample_std

Array = NDArray[np.float64]

CENTRAL = 0.9  # probability of the interval whose coverage is measured


@dataclass(frozen=True)
class Scores:
    """Scores of one entry, over all windows.

    Attributes:
        coverage: fraction of outcomes in the central 90 % interval.
        area: miscalibration area, 0 to 0.5.
        crps: mean continuous ranked probability score, in the unit of the entry.
        sharpness: root mean square of the predicted standard deviation, in the unit of the entry.
    """

    coverage: float
    area: float
    crps: float
    sharpness: float

    @classmethod
    def of(cls, pit: Array, crps: Array, std: Array) -> Scores:
        """Return the scores of w outcomes; all arguments are [w]."""
        return cls(
            coverage=float(is_central(pit).mean()),
            area=miscalibration_area(pit),
            crps=float(crps.mean()),
            sharpness=float(np.sqrt((std**2).mean())),
        )


@dataclass(frozen=True)
class ForecastScores:
    """Scores of a forecast; w windows, V entries that vary.

    Attributes:
        entries: [V] their indices.
        pit: [w, V] probability integral transforms.
        std: [w, V] predicted standard deviations.
        before: V scores.
        after: V scores after recalibration; empty: there is one episode only.
    """

    entries: NDArray[np.int64]
    pit: Array
    std: Array
    before: list[Scores]
    after: list[Scores]


def score_forecast(forecast: Forecast) -> ForecastScores:
    """Score all entries for which the model predicts a spread.

    An entry is recalibrated in two halves of the episodes: each half is measured with the
    recalibration that was fitted to the other one.
    """
    entries = np.flatnonzero(forecast.samples.std(1).max(0) > 0.0)
    samples = forecast.samples.transpose(2, 0, 1)[entries].astype(np.float64)  # [V, w, S]
    truth = forecast.truth.T[entries].astype(np.float64)  # [V, w]
    pit, std = sample_pit(samples, truth), sample_std(samples)
    crps = sample_crps(samples, truth)
    before = [Scores.of(*parts) for parts in zip(pit, crps, std, strict=True)]
    halves = np.unique(forecast.episode, return_inverse=True)[1] % 2  # [w]
    after = []
    if len(np.unique(halves)) == 2:
        after = [_recalibrated(*parts, halves) for parts in zip(pit, samples, truth, strict=True)]
    return ForecastScores(entries, pit.T, std.T, before, after)


def is_central(pit: Array) -> NDArray[np.bool_]:
    """Return whether outcomes lie in the central interval of probability `CENTRAL`."""
    central: NDArray[np.bool_] = np.abs(pit - 0.5) <= CENTRAL / 2
    return central


def _recalibrated(pit: Array, samples: Array, truth: Array, halves: NDArray[np.int64]) -> Scores:
    """Return the scores of one entry after recalibration; pit [w], samples [w, S], truth [w]."""
    new_pit, crps, std = (np.empty(len(pit)) for _ in range(3))
    for half in (0, 1):
        measured = halves == half
        recalibration = Recalibration(pit[~measured])
        weight = recalibration.sample_weights(samples.shape[1])
        new_pit[measured] = recalibration(pit[measured])
        crps[measured] = sample_crps(samples[measured], truth[measured], weight)
        std[measured] = sample_std(samples[measured], weight)
    return Scores.of(new_pit, crps, std)
