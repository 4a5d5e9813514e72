"""Whether the agent visits states that its training data do not contain; disagreement there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_cli.diagnosis.accuracy.episode_resamples import (
    Estimated,
    mean_of,
    resample,
    root_of_ratio,
)
from mbrl_cli.diagnosis.accuracy.measured import Measured
from mbrl_cli.diagnosis.accuracy.rank_correlation import rank_correlation
from mbrl_cli.diagnosis.accuracy.training_data import TrainingData
from mbrl_cli.diagnosis.finding import Finding, Severity
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import scale_of

KNOWN = 0.95  # fraction of training states that count as known among those of other episodes
MAX_TRAINING_STATES = 4_000  # all distances to them are computed
MAX_STATES = 1_000
# Of the states of a copy of the training data 5 % are outside. With half of the visited states
# outside, and errors there at least this much larger, predictions are extrapolations.
MANY = 0.5
SOME = 0.2
LARGER_ERROR = 3.0
CORRELATED = 2_000  # transitions of a rank correlation
CORRELATION_RESAMPLES = 200


def visited_states(
    sets: Sequence[Measured], replay: ReplayBuffer, data: TrainingData, more_data: str
) -> Section:
    """Return which visited states are outside the training data, and the model's error there.

    A state is outside if its distance to the nearest training state is larger than that of 95 % of
    the training states to the nearest one of another episode. The unit of each entry is its
    standard deviation in the training data.

    Args:
        sets: predictions on sets of episodes, the one that the agent visits now last.
        replay: holds the training episodes.
        data: the training data.
        more_data: command that collects more data.
    """
    section = Section("visited_states", "Visited states")
    distances = _distances(sets, replay, data)
    if distances is None:
        section.skipped.append(
            "Visited states outside the training data: the replay has one training episode only, "
            "so there is no typical distance between states of different episodes."
        )
    else:
        table = Table(
            "States outside the training data",
            [
                "episodes", "share outside", "95 % interval, low", "95 % interval, high",
                "median distance / limit", "one-step error outside / inside",
            ],
            note="The limit is the distance that 95 % of the training states have to the nearest "
            "state of another training episode.",
        )  # fmt: skip
        found = {}
        for measured, (rows, relative) in zip(sets, distances, strict=True):
            share, ratio = _outside(measured, data, rows, relative)
            found[measured.name] = share, ratio
            table.rows.append([
                measured.name, share.value, _cell(share.low), _cell(share.high),
                float(np.median(relative)), _cell(ratio),
            ])  # fmt: skip
        section.tables.append(table)
        if "visited" in found:
            section.findings.append(_finding(*found["visited"], more_data))
    _add_disagreement(section, sets, data)
    return section


def _distances(
    sets: Sequence[Measured], replay: ReplayBuffer, data: TrainingData
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]] | None:
    """Return for each set some rows, and their distance divided by the limit; None: no limit."""
    count = len(data.obs)
    chosen = np.linspace(0, count - 1, min(count, MAX_TRAINING_STATES)).round().astype(np.int64)
    scale = scale_of(torch.from_numpy(data.obs))  # [O]
    known = torch.from_numpy(data.obs[chosen]) / scale
    numbers = replay.numbers(data.rows[chosen])
    first = int(numbers.min())
    episode = replay.transitions(first, int(numbers.max()) + 1)["episode"][numbers - first]
    if len(np.unique(episode)) < 2:
        return None
    few = np.linspace(0, len(known) - 1, min(len(known), MAX_STATES)).round().astype(np.int64)
    among = torch.cdist(known[few], known)
    among[torch.from_numpy(episode[few][:, None] == episode[None])] = torch.inf
    limit = float(among.min(1).values.quantile(KNOWN))
    # States that are equal up to rounding, as those of a grid world, have the distance 0.
    limit = max(limit, 1e-6)
    found = []
    for measured in sets:
        total = len(measured.rows)
        rows = np.linspace(0, total - 1, min(total, MAX_STATES)).round().astype(np.int64)
        states = torch.from_numpy(measured.rows.obs[rows]) / scale
        nearest = torch.cdist(states, known).min(1).values
        found.append((rows, nearest.double().numpy() / limit))
    return found


def _outside(
    measured: Measured,
    data: TrainingData,
    rows: NDArray[np.int64],
    relative: NDArray[np.float64],
) -> tuple[Estimated, float]:
    """Return the share of states outside, and the error there divided by the error inside."""
    outside = relative > 1.0
    columns = np.stack([outside.astype(np.float64), np.ones(len(rows))], 1)
    share = resample(measured.rows.episode[rows], columns, mean_of)
    error = one_step_error(measured, data)
    if error is None or outside.all() or not outside.any():
        return share, float("nan")
    squared = error[rows] ** 2
    sums = np.array([squared[outside].mean(), squared[~outside].mean()])
    return share, float(root_of_ratio(sums))


def one_step_error(measured: Measured, data: TrainingData) -> NDArray[np.float64] | None:
    """Return the root mean squared error [n] over entries, in typical changes; None: unknown."""
    if measured.one_step.next_obs is None:
        return None
    error = (measured.one_step.next_obs - measured.rows.next_obs) / data.change_std
    root: NDArray[np.float64] = np.sqrt((error**2).mean(1))
    return root


def _finding(share: Estimated, ratio: float, more_data: str) -> Finding:
    text = f"{share.text()} of the states that the agent visits now lie outside the training data"
    text = text[0].upper() + text[1:]
    if np.isfinite(ratio):
        text += f"; the one-step error there is {ratio:.2g} times that inside"
    text += "."
    if share.value >= MANY and (not np.isfinite(ratio) or ratio >= LARGER_ERROR):
        sure = share.confidence(lambda values: values >= MANY)
        # Unknown states alone cost nothing: a model may generalize.
        severity: Severity = "problem" if np.isfinite(ratio) else "note"
        return Finding("visits_unknown_states", severity, text, sure, more_data)
    if share.value >= SOME:
        sure = share.confidence(lambda values: values >= SOME)
        return Finding("visits_unknown_states", "note", text, sure, more_data)
    sure = share.confidence(lambda values: values < SOME)
    return Finding("visits_unknown_states", "fine", text, sure)


def _add_disagreement(section: Section, sets: Sequence[Measured], data: TrainingData) -> None:
    """Add the rank correlation of disagreement and error."""
    if all(measured.one_step.disagreement is None for measured in sets):
        section.skipped.append(
            "Disagreement and error: the model has one member, so its members cannot disagree."
        )
        return
    table = Table(
        "Rank correlation of the members' disagreement and the one-step error",
        ["episodes", "rank correlation", "95 % interval, low", "95 % interval, high"],
        note="1: the disagreement orders transitions by their error; 0: it says nothing about it.",
    )
    for measured in sets:
        error = one_step_error(measured, data)
        disagreement = measured.one_step.disagreement
        if error is not None and disagreement is not None:
            value = correlation_interval(measured.rows.episode, disagreement, error)
            cells = [_cell(number) for number in (value.value, value.low, value.high)]
            table.rows.append([measured.name, *cells])
    section.tables.append(table)


def correlation_interval(
    episode: NDArray[np.int64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> Estimated:
    """Return the rank correlation of two numbers of n transitions, and its resampled values."""
    rows = np.linspace(0, len(first) - 1, min(len(first), CORRELATED)).round().astype(np.int64)
    episode, first, second = episode[rows], first[rows], second[rows]
    value = rank_correlation(first, second)
    groups = [np.flatnonzero(episode == number) for number in np.unique(episode)]
    if len(groups) < 2:
        return Estimated(value, np.zeros(0), len(groups))
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(CORRELATION_RESAMPLES):
        drawn = rng.integers(0, len(groups), len(groups))
        index = np.concatenate([groups[number] for number in drawn])
        resampled.append(rank_correlation(first[index], second[index]))
    return Estimated(value, np.array(resampled), len(groups))


def _cell(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
