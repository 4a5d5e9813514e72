"""Whether actions or observations are recorded one step too early or too late.

Models of the next observation get the recorded action, the one before it, or the one after it. In
correct data the recorded action predicts better on held-out episodes, and the others add little. An
action that is executed one step late and an observation that is delivered one step late look alike
in the observations: both times the next observation depends on the previous action. They are told
apart by the reward, which is never late, and by the first step of an episode.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.data_checks.action_probe import ActionProbe
from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.data_checks.held_out import (
    Array,
    folds_of,
    held_out_residuals,
    pairs,
    quadratic,
    quadratic_if_small,
    standardized,
)
from mbrl_cli.diagnosis.data_checks.significance import LEVEL, confidence, p_above_zero
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.finding import Finding

MIN_ROWS = 150
# The wrong action explains at least this fraction of the error without an action.
MIN_GAIN = 0.03
# The recorded action explains at most this fraction of what the wrong one explains, given the
# other one.
MAX_LEFT = 0.3
MAX_ERROR = 25.0  # cut of a squared error, in mean squared errors


def shifted(data: Transitions, probe: ActionProbe | None) -> CheckResult:
    """Check actions and observations for a shift by one step.

    Args:
        data: the replay.
        probe: differences in fresh environments; None: not measured.
    """
    result = CheckResult()
    rows = np.flatnonzero(~data.starts & ~data.ends)
    if data.images:
        result.skipped.append("shifted actions: not checked for images")
        return result
    if len(rows) < MIN_ROWS:
        result.skipped.append(
            f"shifted actions: {len(rows)} steps inside episodes; {MIN_ROWS} are needed"
        )
        return result
    errors = action_errors(data, rows)
    unit = data.unit[rows]
    late = probe is not None and probe.delayed(probe.obs_lags)
    found = None
    for other, offset in (("previous", -1), ("next", 1)):
        gain = explained(errors["none"], errors[other])
        given_other = explained(errors[other], errors["recorded and " + other])
        given_recorded = explained(errors["recorded"], errors["recorded and " + other])
        p_value = p_above_zero(errors["recorded"] - errors[other], unit)
        result.evidence.append(
            (f"error explained by the {other} action", gain, f"problem from {MIN_GAIN} on")
        )
        clear = gain >= MIN_GAIN and p_value < LEVEL
        # A policy's action tells something about the actions before it, so it may explain a part
        # of a late effect. Fresh episodes with one changed action then decide.
        if clear and (given_other < MAX_LEFT * given_recorded or (late and offset < 0)):
            found = other, offset, gain, p_value
    recorded = explained(errors["none"], errors["recorded"])
    result.evidence.insert(0, ("error explained by the recorded action", recorded, ""))
    if found is not None:
        result.findings.append(_finding(data, found, recorded, probe))
    elif late and recorded < MIN_GAIN:
        assert probe is not None
        result.findings.append(_probe_finding(data, probe))
    elif recorded >= MIN_GAIN:
        p_value = p_above_zero(errors["none"] - errors["recorded"], unit)
        text = (
            f"the recorded action explains {recorded:.0%} of the change that the observation alone "
            "does not; neither the previous nor the next action explains it better"
        )
        result.findings.append(Finding("shifted_actions", "fine", text, confidence(p_value)))
    else:
        result.skipped.append(
            "shifted actions: no action explains the next observation well enough to compare them"
        )
    return result


def action_errors(data: Transitions, rows: NDArray[np.int64]) -> dict[str, Array]:
    """Return held-out squared errors [rows] of the next observation for each set of actions.

    The error of an entry is relative to its mean error without an action, then averaged over the
    entries. Keys: "none", "recorded", "previous", "next", and "recorded and ...".
    """
    fold = folds_of(data.episode[rows], data.unit[rows])
    change = data.next_obs[rows] - data.obs[rows]
    change = change[:, change.std(0) > 1e-9]
    limit = max(10, min(300, len(rows) // 6))
    obs = standardized(data.obs[rows])  # [n, d]
    base = quadratic_if_small(obs, limit)
    blocks = {
        name: _action_block(data, obs, rows + offset, limit // 2)
        for name, offset in (("recorded", 0), ("previous", -1), ("next", 1))
    }
    sets = {
        "none": [],
        **{name: [name] for name in blocks},
        **{f"recorded and {name}": ["recorded", name] for name in ("previous", "next")},
    }
    squared = {}
    for name, names in sets.items():
        features = np.concatenate([base, *(blocks[part] for part in names)], 1)
        squared[name] = held_out_residuals(features, change, fold) ** 2  # [n, m]
    scale = squared["none"].mean(0)
    scale = np.where(scale > 1e-12 * change.var(0), scale, np.inf)
    return {name: np.minimum(e / scale, MAX_ERROR).mean(1) for name, e in squared.items()}


def explained(without: Array, with_it: Array) -> float:
    """Return the fraction of the mean error that the further inputs explain."""
    return 1.0 - float(with_it.mean()) / max(float(without.mean()), 1e-300)


def _action_block(
    data: Transitions, obs: Array, rows: NDArray[np.int64], max_features: int
) -> Array:
    """Return features of the actions at `rows`, and their products with obs if they are few."""
    action = data.action[rows]
    if data.spec.action.kind == "continuous":
        squares = quadratic(action)
        action = squares if squares.shape[1] <= max_features else action
    if action.shape[1] * (1 + obs.shape[1]) <= max_features:
        return np.concatenate([action, pairs(action, obs)], 1)
    return action


def _finding(
    data: Transitions,
    found: tuple[str, int, float, float],
    recorded: float,
    probe: ActionProbe | None,
) -> Finding:
    other, offset, gain, p_value = found
    sure = confidence(p_value)
    if probe is not None and probe.reproducible and len(probe.obs_lags) >= 5:
        # Fresh environments that show no delay: the data were shifted outside the environment.
        sure = max(sure, 0.99) if offset < 0 and probe.delayed(probe.obs_lags) else 0.8 * sure
    numbers = (
        f"the {other} action explains {gain:.0%} of the change of the observation, the recorded "
        f"one {max(recorded, 0.0):.0%}"
    )
    return _shift(late_part(data, probe) if offset < 0 else "action", numbers, sure, offset)


def _probe_finding(data: Transitions, probe: ActionProbe) -> Finding:
    number = int((probe.obs_lags == 1).sum())
    numbers = (
        f"in {number} of {len(probe.obs_lags)} pairs of fresh episodes with one changed action, "
        "the observation differs first one step after it"
    )
    return _shift(late_part(data, probe), numbers, 0.95, -1)


def _shift(part: Literal["action", "obs"], numbers: str, sure: float, offset: int) -> Finding:
    if part == "obs":
        text = f"observations arrive one step late: {numbers}"
        return Finding("shifted_observations", "problem", text, sure)
    when = "late" if offset < 0 else "early"
    text = f"actions take effect one step {when}: {numbers}"
    return Finding("shifted_actions", "problem", text, sure)


def late_part(data: Transitions, probe: ActionProbe | None) -> Literal["action", "obs"]:
    """Return whether actions or observations are late, if one of them is.

    Observations are late if the first step of (nearly) every episode does not change them, or if a
    changed action changes the reward at once.
    """
    still = (data.obs == data.next_obs).all(1)
    at_start = float(still[data.starts].mean())
    inside = float(still[~data.starts].mean()) if (~data.starts).any() else 1.0
    if at_start > 0.9 and inside < 0.5:
        return "obs"
    if (
        probe is not None
        and len(probe.reward_lags)
        and float((probe.reward_lags == 0).mean()) > 0.5
    ):
        return "obs"
    return "action"
