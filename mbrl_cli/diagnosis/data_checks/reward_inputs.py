"""Rewards that depend on something that is not observed.

A model of the reward gets observation, action, next observation and termination. What it leaves
unexplained is noise if the reward depends on these alone. Two signs show that it is not: it follows
the step of the episode, the same in all episodes (a clock), or it stays the same for an episode (a
goal). A model that is too simple leaves a smooth rest, which also follows time; therefore the rests
of similar transitions from different episodes are subtracted first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.data_checks.held_out import (
    Array,
    folds_of,
    held_out_residuals,
    quadratic_if_small,
    standardized,
)
from mbrl_cli.diagnosis.data_checks.neighbours import nearest_pairs
from mbrl_cli.diagnosis.data_checks.significance import LEVEL, confidence, p_above_zero
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.finding import Finding

MIN_ROWS = 300
MIN_EPISODES = 4
MAX_PAIRED = 2000
MIN_PAIRS = 100
# Fraction of the rest that a clock, or the other half of the episode, explains at least.
MIN_CLOCK = 0.4
MIN_EPISODE = 0.4
# Below this fraction of the reward's variance the rest does not matter.
MIN_REST = 0.02
# Similar transitions share a smooth rest; a hidden one stays. Fraction of the rest that stays.
MIN_STAYS = 0.7
# With more equal rewards they are events, which no smooth model explains.
MAX_EQUAL = 0.5
PERIODS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 200)


def hidden_reward(data: Transitions, rng: np.random.Generator) -> CheckResult:
    """Check whether the reward depends on a clock or on a hidden state of the episode."""
    result = CheckResult()
    if data.images:
        result.skipped.append("hidden rewards: not checked for images")
        return result
    if data.reward.std() < 1e-9:
        result.findings.append(Finding("hidden_reward", "fine", "all rewards are equal"))
        return result
    episodes = len(np.unique(data.episode))
    if len(data) < MIN_ROWS or episodes < MIN_EPISODES:
        result.skipped.append(
            f"hidden rewards: {len(data)} steps of {episodes} episodes; {MIN_ROWS} steps of "
            f"{MIN_EPISODES} episodes are needed"
        )
        return result
    inputs = reward_inputs(data)
    rest, fraction = unexplained(data, inputs)
    result.evidence.append(
        ("unexplained fraction of the reward", fraction, f"judged from {MIN_REST} on")
    )
    if fraction < MIN_REST:
        text = f"observation and action explain {1.0 - fraction:.1%} of the reward"
        result.findings.append(Finding("hidden_reward", "fine", text))
        return result
    pair = similar_pairs(data, inputs, rng)
    if pair is None:
        result.skipped.append("hidden rewards: too few similar transitions in different episodes")
        return result
    left, right = pair
    scale = rest.std()
    rest = rest.clip(-5.0 * scale, 5.0 * scale)
    difference = rest[left] - rest[right]
    stays = float(difference.var() / (2.0 * rest.var()))
    shift = inputs[left] - inputs[right]
    late = (data.episode >= data.episode[len(data) // 2])[:, None] * 1.0
    base = [shift, late[left] - late[right]]  # a reward that changes once is another check's
    result.evidence.append(("rest that similar transitions do not share", stays, ""))
    step = clock(data.step)
    gain, p_value = _gain(data, left, base, step[left] - step[right], difference)
    result.evidence.append(("rest explained by the step", gain, f"problem: {MIN_CLOCK}"))
    if gain >= MIN_CLOCK and p_value < LEVEL:
        result.findings.append(_finding("the step of the episode", fraction, gain, p_value))
        return result
    other_half = _other_half(data, rest)[:, None]
    gain, p_value = _gain(data, left, base, other_half[left] - other_half[right], difference)
    result.evidence.append(("rest explained by the episode", gain, f"problem: {MIN_EPISODE}"))
    sparse = _largest_share(data.reward) > MAX_EQUAL
    if gain >= MIN_EPISODE and p_value < LEVEL and stays >= MIN_STAYS and not sparse:
        result.findings.append(_finding("the episode", fraction, gain, p_value))
        return result
    text = (
        f"{fraction:.0%} of the reward is unexplained, and follows neither a clock nor the episode"
    )
    result.findings.append(Finding("hidden_reward", "fine", text))
    return result


def reward_inputs(data: Transitions) -> Array:
    """Return what a reward may depend on, standardized [n, d]."""
    return standardized(
        np.concatenate(
            [data.obs, data.action, data.next_obs - data.obs, data.terminated[:, None] * 1.0], 1
        )
    )


def unexplained(data: Transitions, inputs: Array) -> tuple[Array, float]:
    """Return the rest [n] of the reward that a model leaves, and its fraction of the variance."""
    fold = folds_of(data.episode, data.unit)
    features = quadratic_if_small(inputs, max(10, min(400, len(data) // 6)))
    rest = held_out_residuals(features, data.reward[:, None], fold)[:, 0]
    return rest, float((rest**2).mean() / data.reward.var())


def clock(step: NDArray[np.int64]) -> Array:
    """Return features [n, c] of the step in the episode: a line, a parabola and sines."""
    line = step / max(1, step.max())
    angles = 2.0 * np.pi * step[:, None] / np.array(PERIODS)
    return np.concatenate([line[:, None], line[:, None] ** 2, np.sin(angles), np.cos(angles)], 1)


def similar_pairs(
    data: Transitions, inputs: Array, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the rows of pairs of similar transitions of different episodes; None: too few."""
    rows = np.sort(rng.permutation(len(data))[:MAX_PAIRED])
    other = data.episode[rows][:, None] != data.episode[rows][None, :]
    query, index, distance = nearest_pairs(inputs[rows], inputs[rows], rng, other)
    near = distance <= np.median(distance)
    if near.sum() < MIN_PAIRS:
        return None
    return rows[query[near]], rows[index[near]]


def _other_half(data: Transitions, rest: Array) -> Array:
    """Return for each row the mean rest [n] of the other half of its episode."""
    _, inverse, length = np.unique(data.episode, return_inverse=True, return_counts=True)
    second = data.step >= length[inverse] / 2.0
    half = 2 * inverse + second
    count = np.bincount(half, minlength=2 * len(length))
    mean = np.bincount(half, rest, 2 * len(length)) / count.clip(1)
    of_other: Array = mean[2 * inverse + ~second]
    return of_other


def _largest_share(values: Array) -> float:
    """Return the fraction of the most frequent value."""
    return float(np.unique(values, return_counts=True)[1].max() / len(values))


def _gain(
    data: Transitions,
    left: NDArray[np.int64],
    base: list[Array],
    columns: Array,
    difference: Array,
) -> tuple[float, float]:
    """Return the fraction of the difference that the columns explain, and its p-value."""
    fold = folds_of(data.episode[left], data.unit[left])
    target = difference[:, None]
    without = held_out_residuals(np.concatenate(base, 1), target, fold, intercept=False)[:, 0] ** 2
    both = np.concatenate([*base, columns], 1)
    with_it = held_out_residuals(both, target, fold, intercept=False)[:, 0] ** 2
    gain = 1.0 - float(with_it.mean() / max(without.mean(), 1e-300))
    return gain, p_above_zero(without - with_it, data.unit[left])


def _finding(what: str, fraction: float, gain: float, p_value: float) -> Finding:
    text = (
        f"the reward depends on something that is not observed: observation and action leave "
        f"{min(fraction, 1.0):.0%} of it unexplained, and {what} explains {gain:.0%} of that"
    )
    setting = "env.wrappers=[gymnasium.wrappers.TimeAwareObservation]"
    return Finding(
        "hidden_reward",
        "problem",
        text,
        confidence(p_value),
        setting if what.startswith("the step") else None,
    )
