"""Time limits that are reported as terminations, and the reverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.data_checks.significance import LEVEL, binomial_tail, confidence
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.finding import Finding

BEFORE = 10  # steps before the end that the last state is compared with
SEPARATED = 0.95  # area under the ROC curve from which the last state differs from those before
MIN_EPISODES = 3
# Terminations at the largest length that a verdict needs. Equal lengths of few short episodes also
# occur by chance, so a limit that is not the environment's own needs more.
REGISTERED_LIMIT = 2
OTHER_LIMIT = 5


def time_limit_as_termination(data: Transitions) -> CheckResult:
    """Check whether episodes terminate at a fixed length.

    In correct data, few of the episodes that reach a step terminate at this very step. The p-value
    is the probability of as many terminations at the largest length, if the rate of terminations
    there were that of the steps before. A task may also have a true end at a fixed step; then the
    last observation differs from those before.
    """
    result = CheckResult()
    complete = _complete_episodes(data)
    if len(complete.length) < MIN_EPISODES:
        result.skipped.append(
            f"time limits: {len(complete.length)} episodes ended; {MIN_EPISODES} are needed"
        )
        return result
    longest = int(complete.length.max())
    at_longest = complete.length == longest
    count = int(at_longest.sum())
    terminated = int((at_longest & complete.terminated).sum())
    p_value = p_of_terminations(complete.length, complete.terminated, longest)
    registered = data.spec.max_episode_steps == longest
    result.evidence.append(
        (f"terminations among the episodes of {longest} steps", f"{terminated} of {count}", "")
    )
    # A rate that rises with the step, as of a falling pole, has nearly as many ends just before.
    before = int((complete.length == longest - 1).sum() + (complete.length == longest - 2).sum())
    enough = terminated >= max(
        REGISTERED_LIMIT if registered else OTHER_LIMIT, 3 * before + 1, 0.9 * count
    )
    suspicious = enough and p_value < LEVEL and (registered or longest > 1)
    if suspicious:
        differs = end_differs(data, complete.last_row[at_longest & complete.terminated])
        result.evidence.append(
            ("last state told from the 10 states before (AUC)", differs, f"true end: {SEPARATED}")
        )
        result.findings.append(_finding(longest, terminated, count, registered, differs, p_value))
    elif complete.terminated.any():
        text = f"episodes terminate at different lengths, up to {longest} steps"
        result.findings.append(Finding("time_limit_as_termination", "fine", text))
    else:
        text = f"no episode terminated; the longest was truncated after {longest} steps"
        result.findings.append(Finding("time_limit_as_termination", "fine", text))
    _note_truncations(complete, longest, result)
    return result


class _Episodes:
    """Complete episodes: `length`, `terminated`, `last_row`, each [episodes]."""

    def __init__(
        self, length: NDArray[np.int64], terminated: NDArray[np.bool_], last_row: NDArray[np.int64]
    ) -> None:
        self.length, self.terminated, self.last_row = length, terminated, last_row


def _complete_episodes(data: Transitions) -> _Episodes:
    """Return the episodes without the last one if that was cut by the end of the run."""
    last_row = np.flatnonzero(data.ends)
    if len(last_row) and not data.terminated[last_row[-1]]:
        last_row = last_row[:-1]
    return _Episodes(data.step[last_row] + 1, data.terminated[last_row], last_row)


def p_of_terminations(
    length: NDArray[np.int64], terminated: NDArray[np.bool_], longest: int
) -> float:
    """Return how probable as many terminations at step `longest` are.

    The rate of terminations is that of the last fifth of the steps before, at least of the last
    five, over all episodes that reached them; half a termination is added, so the rate is not 0.
    """
    first = max(1, longest - max(5, longest // 5))  # steps first ... longest - 1
    steps = int((np.minimum(length, longest - 1) - first + 1).clip(0).sum())
    ends = int((terminated & (length >= first) & (length < longest)).sum())
    rate = min(1.0, (ends + 0.5) / (steps + 1.0))
    at_longest = length == longest
    return binomial_tail(int((terminated & at_longest).sum()), int(at_longest.sum()), rate)


def end_differs(data: Transitions, last_row: NDArray[np.int64]) -> float:
    """Return how well a linear function tells the last states from those of the 10 steps before.

    The area under the ROC curve; 0.5: not at all. The function is fitted without the episode that
    it is tested on.
    """
    offsets = np.arange(BEFORE + 1)
    rows = last_row[:, None] - offsets  # [episodes, 11], the last step first
    inside = data.step[last_row][:, None] >= offsets
    spread = data.next_obs.std(0)
    varies = spread > 1e-9
    x = (data.next_obs[rows][..., varies] - data.next_obs[:, varies].mean(0)) / spread[varies]
    x = np.concatenate([x, x**2, np.ones((*rows.shape, 1))], -1)  # [episodes, 11, p]
    label = np.where(offsets == 0, 1.0, 0.0) + np.zeros(rows.shape)
    wins = total = 0.0
    for left_out in range(len(rows)):
        fitted = inside.copy()
        fitted[left_out] = False
        weight = np.where(label[fitted] > 0.5, BEFORE, 1.0)[:, None]  # both classes count equally
        features = x[fitted]
        gram = features.T @ (weight * features) + 0.01 * len(features) * np.eye(x.shape[-1])
        solution = np.linalg.solve(gram, features.T @ (weight[:, 0] * label[fitted]))
        score = x[left_out] @ solution
        before = score[1:][inside[left_out, 1:]]
        wins += float((score[0] > before).sum() + 0.5 * (score[0] == before).sum())
        total += len(before)
    return wins / total if total else 0.5


def _finding(
    longest: int, terminated: int, count: int, registered: bool, differs: float, p_value: float
) -> Finding:
    same = f"{terminated} of {count} episodes that reached step {longest} terminated there"
    if differs >= SEPARATED:
        text = f"{same}, in states that differ from those before; check that this is no time limit"
        return Finding("time_limit_as_termination", "note", text, 0.6)
    limit = ", the environment's time limit" if registered else ""
    text = (
        f"a time limit is reported as a termination: {same}{limit}, in states like those before; "
        "values are too low near the limit"
    )
    return Finding("time_limit_as_termination", "problem", text, confidence(p_value))


def _note_truncations(complete: _Episodes, longest: int, result: CheckResult) -> None:
    """Note episodes that end without a termination at several lengths below the largest."""
    early = ~complete.terminated & (complete.length < longest)
    lengths = len(np.unique(complete.length[early]))
    # The end of the prefill may cut one episode.
    if lengths >= MIN_EPISODES and early.sum() >= 0.2 * len(early):
        text = (
            f"{int(early.sum())} of {len(early)} episodes ended without a termination after "
            f"{lengths} different numbers of steps; check that terminations are not reported as "
            "truncations"
        )
        result.findings.append(Finding("time_limit_as_termination", "note", text, 0.7))
