"""Whether the spread of predictions is that of their errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.accuracy.episode_resamples import (
    Estimated,
    mean_of,
    resample,
    root_of_ratio,
)
from mbrl_cli.diagnosis.accuracy.forecast import Forecast, gaussian_forecast
from mbrl_cli.diagnosis.accuracy.forecast_scores import (
    CENTRAL,
    ForecastScores,
    Scores,
    is_central,
    score_forecast,
)
from mbrl_cli.diagnosis.accuracy.measured import Measured
from mbrl_cli.diagnosis.accuracy.observation_errors import shown_entries
from mbrl_cli.diagnosis.accuracy.training_data import TrainingData
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.finding import Finding, Severity
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Cell, Table
from mbrl_cli.models.base import Model
from mbrl_cli.models.markov import MarkovModel

# Coverage of the central 90 % interval. Fits on few data reach 0.8 on new states; below 0.7 the
# errors outside are three times as many as predicted.
OVERCONFIDENT = 0.7
# With a risk-averse planner the spread decides; half of the outcomes are then not foreseen.
HARMFUL = 0.5
UNDERCONFIDENT = 2.0  # spread / error from which the spread says little about the error
# Plans are then compared in the mean prediction.
WITHOUT_SPREAD = "mbrl eval RUN model.propagation=expectation"
BINS = 10  # of the PIT histogram

Scored = list[tuple[Forecast, ForecastScores]]


def calibration(
    model: Model,
    sets: Sequence[Measured],
    data: TrainingData,
    uses_risk: bool,
    more_data: str,
) -> Section:
    """Return calibration and sharpness by entry and number of steps.

    Args:
        model: that made the predictions.
        sets: predictions on sets of episodes, the one that the agent visits now last.
        data: the training data.
        uses_risk: whether the planner scores plans by a quantile of their return.
        more_data: command that collects more data.
    """
    section = Section("calibration", "Calibration of the predicted spread")
    scored: dict[str, Scored] = {}
    for measured in sets:
        with_spread = _forecasts_with_spread(model, measured)
        if measured.forecasts and not measured.forecasts[0].has_spread and with_spread:
            section.skipped.append(
                f"Calibration after more than one step ({measured.name}): the model imagines "
                "without noise, so only its one-step predictions have a spread."
            )
        if with_spread:
            scored[measured.name] = [(f, score_forecast(f)) for f in with_spread]
            section.tables.append(_table(measured.name, scored[measured.name]))
            if not scored[measured.name][0][1].after:
                section.skipped.append(
                    f"Recalibration ({measured.name}): it needs two episodes, one to fit and one "
                    "to measure."
                )
    if not scored:
        section.skipped.append("Calibration: the model predicts no spread.")
        return section
    section.curves.append(_histogram(scored))
    uses_spread = getattr(model, "propagation", "expectation") != "expectation"
    without = WITHOUT_SPREAD if uses_spread else None
    section.findings.append(_finding(scored, data, uses_risk, more_data, without))
    return section


def _forecasts_with_spread(model: Model, measured: Measured) -> list[Forecast]:
    found = [forecast for forecast in measured.forecasts if forecast.has_spread]
    if not found and measured.forecasts and isinstance(model, MarkovModel):
        one_step = gaussian_forecast(model, measured.rows)
        found = [one_step] if one_step is not None else []
    return [forecast for forecast in found if len(forecast.episode)]


def _table(name: str, scored: Scored) -> Table:
    table = Table(
        f"Calibration by entry and number of steps, {name}",
        [
            "entry", "k", "coverage of 90 %", "miscalibration area", "CRPS", "sharpness",
            "coverage, recalibrated", "area, recalibrated", "CRPS, recalibrated",
            "sharpness, recalibrated",
        ],
        note="A calibrated model has coverage 0.9 and area 0. CRPS (0 is best) and sharpness (mean "
        "predicted standard deviation) are in the unit of the entry. Recalibration is isotonic "
        "regression, fitted to one half of the episodes and measured on the other half.",
    )  # fmt: skip
    badness = np.array([score.area for score in scored[0][1].before])
    shown = scored[0][1].entries[shown_entries(badness)]
    for forecast, scores in scored:
        for entry in shown:
            place = np.flatnonzero(scores.entries == entry)
            if not len(place):
                continue
            after = _cells(scores.after[place[0]]) if scores.after else [None] * 4
            before = _cells(scores.before[place[0]])
            table.rows.append([f"obs[{entry}]", forecast.steps, *before, *after])
        if len(scores.entries) > 1:
            table.rows.append(
                ["mean", forecast.steps, *_means(scores.before), *_means(scores.after)]
            )
    return table


def _cells(score: Scores) -> list[Cell]:
    return [score.coverage, score.area, score.crps, score.sharpness]


def _means(scores: list[Scores]) -> list[Cell]:
    """Return the means over entries of coverage and area; units of entries differ."""
    if not scores:
        return [None] * 4
    return [
        float(np.mean([score.coverage for score in scores])),
        float(np.mean([score.area for score in scores])),
        None,
        None,
    ]


def _histogram(scored: dict[str, Scored]) -> Curve:
    edges = np.linspace(0.0, 1.0, BINS + 1)
    lines: dict[str, NDArray[np.float64]] = {}
    for name, of_set in scored.items():
        for forecast, scores in {0: of_set[0], len(of_set) - 1: of_set[-1]}.values():
            counts = np.histogram(scores.pit, edges)[0]
            lines[f"{name}, k={forecast.steps}"] = counts * BINS / counts.sum()
    return Curve(
        "Histogram of the probability integral transform, all entries (calibrated: 1 everywhere)",
        "predicted probability of a lower outcome",
        "density",
        (edges[:-1] + edges[1:]) / 2,
        lines,
    )


def _finding(
    scored: dict[str, Scored],
    data: TrainingData,
    uses_risk: bool,
    more_data: str,
    without_spread: str | None,
) -> Finding:
    name, of_set = list(scored.items())[-1]
    where = "the states that the agent visits now" if name == "visited" else "held-out episodes"
    forecast, scores = of_set[0]
    inside = is_central(scores.pit).mean(1)  # [w]
    coverage = resample(forecast.episode, np.stack([inside, np.ones(len(inside))], 1), mean_of)
    spread = _spread_of_error(forecast, scores, data)
    text = (
        f"On {where} {coverage.value:.0%} of the observations after one step lie in the predicted "
        f"{CENTRAL:.0%} interval, and the spread is {spread.text()} times the error"
    )
    last = of_set[-1]
    if last is not of_set[0]:
        later = float(is_central(last[1].pit).mean())
        text += f"; after {last[0].steps} steps {later:.0%} do"
    text += "."
    if coverage.value < OVERCONFIDENT:
        harmful = uses_risk and coverage.value < HARMFUL
        limit = HARMFUL if harmful else OVERCONFIDENT
        sure = coverage.confidence(lambda values: values < limit)
        severity: Severity = "problem" if harmful else "note"
        return Finding("overconfident_model", severity, text, sure, more_data)
    if spread.value > UNDERCONFIDENT:
        sure = spread.confidence(lambda values: values > UNDERCONFIDENT)
        return Finding("underconfident_model", "note", text, sure, without_spread)
    sure = coverage.confidence(lambda values: values >= OVERCONFIDENT)
    return Finding("overconfident_model", "fine", text, sure)


def _spread_of_error(forecast: Forecast, scores: ForecastScores, data: TrainingData) -> Estimated:
    """Return the root mean squared spread divided by the root mean squared error."""
    scale = data.change_std[scores.entries]
    spread = ((scores.std / scale) ** 2).mean(1)
    error = ((forecast.error[:, scores.entries] / scale) ** 2).mean(1)
    return resample(forecast.episode, np.stack([spread, error], 1), root_of_ratio)
