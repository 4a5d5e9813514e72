"""Whether dynamics or rewards change during the run.

One model is fitted to the transitions of the whole run. Early and late transitions with nearly
equal observation and action are paired. If nothing changed, the difference of their residuals
depends on the small difference of their inputs alone. If the dynamics changed, it depends on the
input itself. The pairs make sure that a changed visited region is not taken for a change.
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

MIN_ROWS = 400
MIN_PAIRS = 80
MIN_EPISODES = 4  # early ones, and late ones; few episodes differ by chance
MAX_PAIRED = 2000  # early and late transitions
# The time in the run explains at least this fraction of the residuals' differences.
MIN_GAIN = 0.1
ROWS_PER_COLUMN = 2  # pairs for each product of a difference and an input
# Residuals below this fraction of the change are rounding.
MIN_RESIDUAL = 1e-4


def non_stationary(data: Transitions, rng: np.random.Generator) -> CheckResult:
    """Compare early and late transitions at similar states."""
    result = CheckResult()
    if data.images:
        result.skipped.append("non-stationarity: not checked for images")
        return result
    if len(data) < MIN_ROWS:
        result.skipped.append(f"non-stationarity: {len(data)} steps; {MIN_ROWS} are needed")
        return result
    drift = drifts(data, rng)
    if drift is None:
        result.skipped.append(
            "non-stationarity: too few episodes, or too few late transitions are similar to early "
            "ones"
        )
        return result
    gains, p_values = drift
    reward = len(gains) - 1
    parts = {"dynamics": int(gains[:-1].argmax()), "reward": reward}
    for name, entry in parts.items():
        result.evidence.append(
            (
                f"late {name} differ: explained difference",
                float(gains[entry]),
                f"problem: {MIN_GAIN}",
            )
        )
    found = [(gains[e], p_values[e], name, e) for name, e in parts.items() if gains[e] >= MIN_GAIN]
    for gain, p_value, name, entry in found:
        if p_value >= LEVEL:
            continue
        what = "the reward changes" if name == "reward" else "the dynamics change"
        where = "" if name == "reward" else f" of observation entry {entry}"
        text = (
            f"{what} during the run: at similar states and actions, early or late explains "
            f"{gain:.0%} of the unexplained change{where}"
        )
        result.findings.append(
            Finding("non_stationary", "problem", text, confidence(float(p_value)))
        )
    if not result.findings:
        text = "at similar states and actions, early and late transitions do not differ"
        result.findings.append(Finding("non_stationary", "fine", text))
    return result


def drifts(data: Transitions, rng: np.random.Generator) -> tuple[Array, Array] | None:
    """Return the explained fraction and its p-value for each observation entry, then the reward.

    None: too few pairs are similar.
    """
    inputs = standardized(np.concatenate([data.obs, data.action], 1))  # [n, d]
    targets = np.concatenate(
        [data.next_obs - data.obs, (data.reward * ~data.terminated)[:, None]], 1
    )  # [n, O + 1]
    fold = folds_of(data.episode, data.unit)
    features = quadratic_if_small(inputs, max(10, min(300, len(data) // 6)))
    residual = held_out_residuals(features, targets, fold)
    middle = data.episode[len(data) // 2]
    early = np.flatnonzero(data.episode < middle)
    late = np.flatnonzero(data.episode >= middle)
    early = rng.permutation(early)[: min(len(early), MAX_PAIRED)]
    late = np.sort(rng.permutation(late)[: min(len(late), MAX_PAIRED)])
    episodes = [len(np.unique(data.episode[part])) for part in (early, late)]
    if min(len(early), len(late)) < MIN_PAIRS or min(episodes) < MIN_EPISODES:
        return None
    ordinary = _ordinary_distance(data, inputs, early, rng)
    query, index, distance = nearest_pairs(inputs[late], inputs[early], rng)
    similar = distance <= ordinary
    if similar.sum() < MIN_PAIRS:
        return None
    a, b = late[query[similar]], early[index[similar]]
    difference = residual[a] - residual[b]  # [pairs, O + 1]
    spread = residual.std(0)
    judged = spread > MIN_RESIDUAL * (targets.std(0) + 1e-12)
    difference = difference.clip(-5.0 * spread, 5.0 * spread)
    base = _differences(inputs[a], inputs[b])
    pair_fold = folds_of(data.episode[a], data.unit[a])
    without = held_out_residuals(base, difference, pair_fold, intercept=False) ** 2
    level = np.concatenate([base, inputs[a]], 1)
    with_it = held_out_residuals(level, difference, pair_fold) ** 2
    gains = np.where(judged, 1.0 - with_it.mean(0) / without.mean(0).clip(1e-300), 0.0)
    p_values = np.array(
        [
            min(1.0, p_above_zero(without[:, e] - with_it[:, e], data.unit[a]) * judged.sum())
            for e in range(len(gains))
        ]
    )
    return gains, p_values


def _differences(late: Array, early: Array) -> Array:
    """Return what may explain how residuals of a stationary environment differ [pairs, columns].

    Late inputs differ systematically from early ones, such as faster ones, so the slope of the
    residuals at the input counts, too: products of differences and inputs, if they are few.
    """
    base = late - early
    middle = 0.5 * (late + early)
    products = (base[:, :, None] * middle[:, None, :]).reshape(len(base), -1)
    if products.shape[1] > len(base) // ROWS_PER_COLUMN:
        return base
    return np.concatenate([base, products], 1)


def _ordinary_distance(
    data: Transitions, inputs: Array, early: NDArray[np.int64], rng: np.random.Generator
) -> float:
    """Return the median distance of an early transition to the nearest one of another episode."""
    part = early[: MAX_PAIRED // 2]
    other = data.episode[part][:, None] != data.episode[part][None, :]
    if not other.any():
        other = data.unit[part][:, None] != data.unit[part][None, :]
    return float(np.median(nearest_pairs(inputs[part], inputs[part], rng, other)[2]))
