"""Transitions across resets: a next observation that belongs to the next episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.data_checks.held_out import (
    folds_of,
    held_out_residuals,
    quadratic_if_small,
    standardized,
)
from mbrl_cli.diagnosis.data_checks.significance import LEVEL, binomial_tail, confidence
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.finding import Finding

MIN_ENDS = 3
MIN_STARTS = 4
JUMP = 10.0  # in 90 % quantiles of the residuals


def crosses_reset(data: Transitions) -> CheckResult:
    """Check the last observation of each episode, and look for hidden resets inside episodes."""
    result = CheckResult()
    ends = np.flatnonzero(data.ends)
    equal = p_equal_starts(data)
    if equal is None:
        result.skipped.append(
            f"transitions across resets: {len(ends)} episodes; {MIN_ENDS + 1} are needed"
        )
        return result
    fraction, p_value = equal
    result.evidence.append(
        ("episodes whose last observation is the first one of the next", fraction, "problem: 0.5")
    )
    if fraction >= 0.5 and p_value < LEVEL:
        text = (
            f"{fraction:.0%} of the episodes end with the first observation of the next episode "
            "instead of their own last one"
        )
        problem = Finding("crosses_reset", "problem", text, confidence(p_value))
        result.findings.append(problem)
        return result
    if data.images or data.discrete_obs:
        _fine(result)
        return result
    _check_jumps(data, result)
    return result


def p_equal_starts(data: Transitions) -> tuple[float, float] | None:
    """Return the fraction of ends that equal the next start, and its p-value.

    The p-value is the probability of as many by chance: discrete states may return to the start.
    None: too few episodes.
    """
    ends = np.flatnonzero(data.ends)[:-1]
    if len(ends) < MIN_ENDS:
        return None
    next_start = data.obs[ends + 1]
    equal = (data.next_obs[ends] == next_start).all(1)
    starts = np.unique(next_start, axis=0)
    if len(starts) > 20:
        return float(equal.mean()), binomial_tail(int(equal.sum()), len(equal), 0.01)
    inside = data.next_obs[~data.ends]
    returns = np.zeros(len(inside), bool)
    for start in starts:
        returns |= (inside == start).all(1)
    chance = float(np.clip(2.0 * returns.mean(), 0.01, 1.0)) if len(inside) else 1.0
    return float(equal.mean()), binomial_tail(int(equal.sum()), len(equal), chance)


def starts_and_jumps(data: Transitions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return [n] whether next_obs lies among the first observations, and whether by a jump.

    A model of the change of the observation is fitted; a jump has a residual far above all
    ordinary ones. Among the first observations: each entry within their range, widened by half of
    it.
    """
    fold = folds_of(data.episode, data.unit)
    change = data.next_obs - data.obs
    varies = change.std(0) > 1e-9
    limit = max(10, min(200, len(data) // 6))
    features = quadratic_if_small(standardized(np.concatenate([data.obs, data.action], 1)), limit)
    # Jumps must not decide the fit: changes are cut at wide quantiles first.
    low, high = np.quantile(change[:, varies], [0.02, 0.98], axis=0)
    cut = change[:, varies].clip(low, high)
    fit = cut - held_out_residuals(features, cut, fold)
    residual = np.abs(change[:, varies] - fit)
    scale = np.quantile(residual, 0.9, axis=0) + 1e-6 * change[:, varies].std(0)
    starts = data.obs[data.starts]
    jump = (residual > JUMP * scale).any(1)
    jump |= _far_from_ordinary(residual / scale)
    range_low, range_high = starts.min(0), starts.max(0)
    margin = 0.5 * (range_high - range_low) + 1e-6 * data.obs.std(0)
    above = (data.next_obs >= range_low - margin).all(1)
    at_start = above & (data.next_obs <= range_high + margin).all(1)
    return at_start, jump & at_start


def _far_from_ordinary(relative: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return [n] whether the root mean square over entries is far above its 95 % quantile."""
    size = np.sqrt((relative**2).mean(1))
    far: NDArray[np.bool_] = size > 4.0 * np.quantile(size, 0.95)
    return far


def _check_jumps(data: Transitions, result: CheckResult) -> None:
    if data.starts.sum() < MIN_STARTS:
        result.skipped.append(
            f"hidden resets: {int(data.starts.sum())} episodes; {MIN_STARTS} are needed to know "
            "where episodes start"
        )
        return
    at_start, jumps = starts_and_jumps(data)
    ends = data.ends
    returns = _returns(data, at_start)
    at_ends, inside = float(jumps[ends].mean()), float(jumps[~ends].mean())
    result.evidence.append(("episode ends that jump to a start state", at_ends, "problem: 0.5"))
    result.evidence.append(("jumps to a start state inside episodes", inside, "problem: 3 rows"))
    p_value = binomial_tail(int(jumps[ends].sum()), int(ends.sum()), max(0.01, 2.0 * inside))
    if (at_ends >= 0.5 and p_value < LEVEL) or returns:
        if returns:
            at_ends = float(at_start[ends].mean())
        text = (
            f"{at_ends:.0%} of the episodes end with a jump into a start state: their last "
            "observation is that of the next episode"
        )
    elif jumps[~ends].sum() >= MIN_ENDS and inside < 0.2:
        number = int(jumps[~ends].sum())
        text = (
            f"{number} transitions inside episodes jump into a start state: episodes end without "
            "being reported"
        )
        p_value = 0.001 / number
    else:
        _fine(result)
        return
    result.findings.append(Finding("crosses_reset", "problem", text, confidence(p_value)))


def _returns(data: Transitions, at_start: NDArray[np.bool_]) -> bool:
    """Return whether (nearly) all episodes end in a start state, by large and sudden changes.

    This finds resets in tasks whose ordinary changes are large, too.
    """
    ends = data.ends
    if at_start[ends].mean() < 0.9:
        return False
    chance = max(0.01, 2.0 * float(at_start[~ends].mean()))
    if binomial_tail(int(at_start[ends].sum()), int(ends.sum()), min(1.0, chance)) >= LEVEL:
        return False
    change = np.abs(data.next_obs - data.obs)
    size = (change / (change.mean(0) + 1e-12)).mean(1)
    return float(np.median(size[ends])) > float(np.quantile(size[~ends], 0.9))


def _fine(result: CheckResult) -> None:
    text = "no transition leads into another episode"
    result.findings.append(Finding("crosses_reset", "fine", text))
