"""Error of predicted observations over the number of imagined steps, against no change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.accuracy.episode_resamples import Estimated, resample, root_of_ratio
from mbrl_cli.diagnosis.accuracy.forecast import Forecast
from mbrl_cli.diagnosis.accuracy.measured import Measured
from mbrl_cli.diagnosis.accuracy.training_data import TrainingData
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Cell, Table

USELESS = 1.0  # an error as large as that of predicting no change
# A resting system hardly changes, and then no change is hard to beat. An error below this fraction
# of the typical change in the training data is small in any case.
SMALL_ERROR = 0.3
# A plan whose second half is not predicted still has a first half that is. If the model fails
# before the middle of the plan, most of what the planner compares is noise.
EARLY = 0.5
WORST_ENTRIES = 10  # rows of a table if an observation has more entries
LOST = 0.05  # fraction of predictions that are not finite: more cannot be single outliers


def observation_errors(
    sets: Sequence[Measured], data: TrainingData, horizon: int, more_data: str, is_image: bool
) -> Section:
    """Return errors by entry and number of steps, and what they mean for planning.

    Args:
        sets: predictions on sets of episodes, the one that the agent visits now last.
        data: the training data.
        horizon: steps that the agent imagines.
        more_data: command that collects more data.
        is_image: whether an observation is an image; then only the mean error is shown.
    """
    section = Section("observations", "Predicted observations")
    curves: dict[str, list[Estimated]] = {}
    for measured in sets:
        if not measured.forecasts:
            continue
        curves[measured.name] = [_relative(f, data) for f in measured.forecasts]
        section.tables += _tables(measured, curves[measured.name], is_image)
    for measured in sets:
        if measured.forecasts and measured.forecasts[-1].steps < horizon:
            section.skipped.append(
                f"Errors after more than {measured.forecasts[-1].steps} steps ({measured.name}): "
                "all episodes are shorter."
            )
    section.findings.append(_finding(sets, curves, data, horizon, more_data))
    section.curves.append(_curve(sets, curves))
    return section


def _relative(forecast: Forecast, data: TrainingData) -> Estimated:
    """Return the error divided by that of predicting no change, over all entries."""
    error, change = (
        ((values / data.change_std) ** 2).mean(1) for values in (forecast.error, forecast.change)
    )
    return resample(forecast.episode, np.stack([error, change], 1), root_of_ratio)


def _finding(
    sets: Sequence[Measured],
    curves: dict[str, list[Estimated]],
    data: TrainingData,
    horizon: int,
    more_data: str,
) -> Finding:
    measured = [m for m in sets if m.forecasts][-1]
    name = "the states that the agent visits now"
    if measured.name != "visited":
        name = "held-out episodes"
    forecasts, relative = measured.forecasts, curves[measured.name]
    lost = max(f.lost / max(f.lost + len(f.episode), 1) for f in forecasts)
    if lost > LOST:
        text = f"{lost:.0%} of the predictions on {name} are not finite: the model has diverged."
        return Finding("dynamics", "problem", text, 1.0, more_data)
    first = relative[0]
    text = (
        f"On {name} the error after one step is {first.text()} times that of predicting no change"
    )
    if len(forecasts) > 1:
        text += f", and after {forecasts[-1].steps} steps {relative[-1].text()} times"
    others = [f"{m.name}: {curves[m.name][0].value:.2g}" for m in sets[:-1] if m.forecasts]
    if others and measured is sets[-1]:
        text += f" (one step, {'; '.join(others)})"
    text += "."
    size = np.sqrt(((forecasts[0].error / data.change_std) ** 2).mean())
    if first.value >= USELESS and size >= SMALL_ERROR:
        text += " The model predicts no better than a constant."
        return Finding("dynamics", "problem", text, first.confidence(_useless), more_data)
    failing = [i for i, value in enumerate(relative) if value.value >= USELESS]
    if not failing or size < SMALL_ERROR * first.value:
        sure = first.confidence(lambda values: values < USELESS)
        return Finding("dynamics", "fine", text, sure)
    steps = forecasts[failing[0]].steps
    early = [i for i in failing if forecasts[i].steps <= EARLY * horizon]
    text += f" From {steps} of {horizon} imagined steps on it predicts no better than no change."
    shorter = f"mbrl eval RUN planner.horizon={max(1, forecasts[max(failing[0] - 1, 0)].steps)}"
    if early:
        return Finding(
            "dynamics", "problem", text, relative[early[-1]].confidence(_useless), more_data
        )
    return Finding("dynamics", "note", text, relative[failing[0]].confidence(_useless), shorter)


def _useless(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return values >= USELESS


def _tables(measured: Measured, relative: list[Estimated], is_image: bool) -> list[Table]:
    """Return the errors in the unit of each entry, and relative to no change."""
    forecasts = measured.forecasts
    errors, changes = (
        np.stack([_rms(getattr(f, part)) for f in forecasts]) for part in ("error", "change")
    )  # [K, O]
    columns = ["entry", *(f"k={f.steps}" for f in forecasts)]
    title = f"Error of the observation after k steps, {measured.name}"
    if is_image:
        rows: list[list[Cell]] = [
            ["all pixels", *_pooled(errors)],
            ["all pixels, predicting no change", *_pooled(changes)],
        ]
        return [Table(title, columns, rows, "Root mean squared error, pixels from 0 to 255.")]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = errors / changes  # [K, O]
    shown = shown_entries(ratios[0])
    own = Table(title, columns, note="Root mean squared error, in the unit of the entry.")
    for entry in shown:
        own.rows.append([f"obs[{entry}]", *errors[:, entry].tolist()])
        own.rows.append([f"obs[{entry}], predicting no change", *changes[:, entry].tolist()])
    to_no_change = Table(
        f"Error divided by that of predicting no change, {measured.name}",
        columns,
        [[f"obs[{entry}]", *_cells(ratios[:, entry])] for entry in shown],
        "0: exact; 1 and more: the prediction is useless. The last rows are over all entries, each "
        "in standard deviations of its change in the training data.",
    )
    to_no_change.rows.append(["all entries", *(value.value for value in relative)])
    to_no_change.rows.append(["95 % interval, low", *_cells([v.low for v in relative])])
    to_no_change.rows.append(["95 % interval, high", *_cells([v.high for v in relative])])
    to_no_change.rows.append(["windows", *(len(f.episode) for f in forecasts)])
    return [own, to_no_change]


def shown_entries(badness: NDArray[np.float64]) -> list[int]:
    """Return all entries, or the worst ones of many, in their order."""
    if len(badness) <= WORST_ENTRIES:
        return list(range(len(badness)))
    worst = np.argsort(-np.nan_to_num(badness, nan=-np.inf), kind="stable")[:WORST_ENTRIES]
    return sorted(worst.tolist())


def _curve(sets: Sequence[Measured], curves: dict[str, list[Estimated]]) -> Curve:
    steps = sorted({f.steps for m in sets for f in m.forecasts})
    lines = {}
    for measured in sets:
        values = {
            f.steps: relative.value
            for f, relative in zip(measured.forecasts, curves.get(measured.name, []), strict=True)
        }
        lines[measured.name] = np.array([values.get(k, np.nan) for k in steps])
    return Curve(
        "Error of predicted observations",
        "imagined steps",
        "error / error of predicting no change",
        np.array(steps, np.float64),
        lines,
    )


def _rms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rms: NDArray[np.float64] = np.sqrt((values**2).mean(0))
    return rms


def _pooled(errors: NDArray[np.float64]) -> list[float]:
    pooled: list[float] = np.sqrt((errors**2).mean(1)).tolist()
    return pooled


def _cells(values: Sequence[float] | NDArray[np.float64]) -> list[float | None]:
    """Return numbers for a table; None where there is none."""
    return [float(value) if np.isfinite(value) else None for value in values]
