"""The optimism gap: by how much a planner's predicted returns exceed the observed ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def optimism_gap(
    predicted: Sequence[float], rewards: Sequence[float], terminated: bool, horizon: int,
    discount: float,
) -> float | None:  # fmt: skip
    """Return the mean of (predicted return - observed return) over the steps of an episode.

    Both returns cover the same `horizon` steps with the same discount. A step whose horizon reaches
    past the end of the episode counts only if the episode terminated, because rewards are zero
    after a termination and unknown after a time limit. Returns None if no step counts.

    Args:
        predicted: predicted return at each step; NaN if nothing was predicted there.
        rewards: reward of each step.
        terminated: whether the episode ended by termination.
        horizon: number of steps that a prediction covers.
        discount: discount per step.
    """
    observed = observed_returns(rewards, terminated, horizon, discount)
    if not len(observed) or not predicted:
        return None
    gaps = np.asarray(predicted[: len(observed)], np.float64) - observed
    gaps = gaps[~np.isnan(gaps)]
    return float(gaps.mean()) if len(gaps) else None


def observed_returns(
    rewards: Sequence[float] | NDArray[np.float64], terminated: bool, horizon: int, discount: float
) -> NDArray[np.float64]:
    """Return the discounted return over `horizon` steps from each of the first steps on.

    There is one for each step whose return is known, see `optimism_gap`.
    """
    usable = len(rewards) if terminated else len(rewards) - horizon + 1
    if usable <= 0:
        return np.zeros(0)
    padded = np.concatenate([np.asarray(rewards, np.float64), np.zeros(horizon)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, horizon)[:usable]  # [usable, H]
    observed: NDArray[np.float64] = windows @ discount ** np.arange(horizon)  # [usable]
    return observed
