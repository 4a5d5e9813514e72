"""Error of predicted rewards, precision and recall of predicted terminations, target scales."""

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
from mbrl_cli.diagnosis.accuracy.measured import Measured
from mbrl_cli.diagnosis.accuracy.training_data import TrainingData
from mbrl_cli.diagnosis.finding import Finding, Severity
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Cell, Table
from mbrl_cli.types import EnvSpec

# The error, in standard deviations of the rewards in the training data. At 1 the model is as wrong
# as predicting the mean reward; at 0.5 it misses a quarter of the variance.
REWARD_PROBLEM = 1.0
REWARD_NOTE = 0.5
CONSTANT_REWARD_ERROR = 0.01  # of the size of a reward that is the same everywhere
LIKELY = 0.5  # a probability from which a termination counts as predicted
FEW_TERMINATIONS = 5  # with fewer real ones, recall says little
MISSED = 0.5  # recall below which a planner does not see most falls
# Probability that a plan of the planner's horizon ends in imagination although it does not in
# reality. A fifth of the return of a plan is then lost for no reason.
FALSE_END_PROBLEM = 0.2
FALSE_END_NOTE = 0.05


def reward_and_termination(
    sets: Sequence[Measured], data: TrainingData, spec: EnvSpec, horizon: int, more_data: str
) -> Section:
    """Compare one-step predictions of reward and termination with what happened.

    Args:
        sets: predictions on sets of episodes, the one that the agent visits now last.
        data: the training data.
        spec: of the environment; has its known functions.
        horizon: steps that the agent imagines.
        more_data: command that collects more data.
    """
    section = Section("reward_and_termination", "Predicted rewards and terminations")
    section.tables += [_reward_table(sets, data), _termination_table(sets)]
    section.findings.append(_reward_finding(sets, data, spec, more_data))
    section.findings.append(_termination_finding(sets, data, spec, horizon, more_data))
    return section


def _reward_table(sets: Sequence[Measured], data: TrainingData) -> Table:
    table = Table(
        "Error of the reward after one step",
        [
            "episodes", "error", "predicting the mean", "error / predicting the mean",
            "error / reward std in training", "mean reward", "mean predicted",
        ],
        note="Root mean squared errors in the unit of the reward.",
    )  # fmt: skip
    for measured in sets:
        reward, predicted = measured.rows.reward, measured.one_step.reward
        error = float(np.sqrt(((predicted - reward) ** 2).mean()))
        base = float(reward.std())
        row: list[Cell] = [
            measured.name,
            error,
            base,
            error / base if base else None,
            error / data.reward_std if data.reward_std else None,
            float(reward.mean()),
            float(predicted.mean()),
        ]
        table.rows.append(row)
    return table


def _reward_finding(
    sets: Sequence[Measured], data: TrainingData, spec: EnvSpec, more_data: str
) -> Finding:
    measured = sets[-1]
    reward, predicted = measured.rows.reward, measured.one_step.reward
    square = (predicted - reward) ** 2
    where = _where(measured)
    source = "predicted reward"
    if spec.known_reward is not None:
        source = "known reward function, applied to predicted observations,"
    if data.reward_std == 0.0:
        size = max(abs(data.reward_mean), 1e-12)
        scale, unit, limits = size, "the constant reward", (CONSTANT_REWARD_ERROR,) * 2
    else:
        scale, unit = data.reward_std, "the standard deviation of rewards in the training data"
        limits = (REWARD_NOTE, REWARD_PROBLEM)
    columns = np.stack([square, np.full(len(square), scale**2)], 1)
    error = resample(measured.rows.episode, columns, root_of_ratio)
    text = f"The {source} is wrong by {error.text()} times {unit} on {where}."
    if error.value == 0.0:
        text = f"The {source} is exact on {where}."
    if error.value >= limits[1]:
        sure = error.confidence(lambda values: values >= limits[1])
        severity: Severity = "note" if data.reward_std == 0.0 else "problem"
        return Finding("reward_model", severity, text, sure, more_data)
    if error.value >= limits[0]:
        sure = error.confidence(lambda values: values >= limits[0])
        return Finding("reward_model", "note", text, sure, more_data)
    return Finding("reward_model", "fine", text, error.confidence(lambda v: v < limits[0]))


def _termination_table(sets: Sequence[Measured]) -> Table:
    table = Table(
        "Terminations, one step ahead",
        [
            "episodes", "steps", "true terminations", "true rate", "predicted rate", "precision",
            "recall",
        ],
        note="A termination is predicted if its probability is at least 0.5. The predicted rate is "
        "the mean probability; a calibrated model has the true rate.",
    )  # fmt: skip
    for measured in sets:
        true, probability = measured.rows.terminated, measured.one_step.termination
        predicted = probability >= LIKELY
        hits = int((true & predicted).sum())
        row: list[Cell] = [
            measured.name,
            len(true),
            int(true.sum()),
            float(true.mean()),
            float(probability.mean()),
            hits / int(predicted.sum()) if predicted.any() else None,
            hits / int(true.sum()) if true.any() else None,
        ]
        table.rows.append(row)
    return table


def _termination_finding(
    sets: Sequence[Measured], data: TrainingData, spec: EnvSpec, horizon: int, more_data: str
) -> Finding:
    # Terminations are rare, so those of all sets count together.
    true = np.concatenate([m.rows.terminated for m in sets])
    probability = np.concatenate([m.one_step.termination for m in sets])
    episode = _episodes_of(sets)
    missed = _rate(episode, true, probability < LIKELY)
    false_end = _rate(episode, ~true, probability)
    over_plan = Estimated(
        1.0 - (1.0 - false_end.value) ** horizon,
        1.0 - (1.0 - false_end.resampled) ** horizon,
        false_end.episodes,
    )
    found, count = [], int(true.sum())
    if count:
        found.append(f"{1.0 - missed.value:.0%} of {count} real terminations are predicted")
    else:
        found.append("no real termination occurred")
    found.append(
        f"a plan of {horizon} steps that does not end in reality ends in imagination with "
        f"probability {over_plan.value:.2g}"
    )
    text = f"One step ahead {found[0]}; {found[1]}."
    if not count and not data.terminations and float(probability.max()) < LIKELY:
        text = "No termination occurred, neither in the data nor now, and none is predicted."
        return Finding("termination_model", "fine", text)
    problems = []
    if count >= FEW_TERMINATIONS and missed.value > MISSED:
        problems.append(missed.confidence(lambda values: values > MISSED))
    if over_plan.value > FALSE_END_PROBLEM:
        problems.append(over_plan.confidence(lambda values: values > FALSE_END_PROBLEM))
    if problems:
        return Finding("termination_model", "problem", text, max(problems), more_data)
    if over_plan.value > FALSE_END_NOTE or (count and missed.value > MISSED):
        return Finding("termination_model", "note", text, 0.5, more_data)
    sure = over_plan.confidence(lambda values: values <= FALSE_END_PROBLEM)
    return Finding("termination_model", "fine", text, sure)


def _rate(
    episode: NDArray[np.int64], used: NDArray[np.bool_], values: NDArray[np.generic]
) -> Estimated:
    """Return the mean of values over the transitions that are used."""
    columns = np.stack([np.where(used, values.astype(np.float64), 0.0), used.astype(np.float64)], 1)
    return resample(episode, columns, mean_of)


def _episodes_of(sets: Sequence[Measured]) -> NDArray[np.int64]:
    """Return different numbers for the episodes of different sets."""
    first, parts = 0, []
    for measured in sets:
        parts.append(measured.rows.episode + first)
        first += len(measured.trajectories)
    return np.concatenate(parts)


def _where(measured: Measured) -> str:
    if measured.name == "visited":
        return "the states that the agent visits now"
    return "held-out episodes"
