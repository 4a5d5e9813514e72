"""The optimism gap: by how much a planner's predicted returns exceed the observed ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
    usable = len(rewards) if terminated else len(rewards) - horizon + 1
    if usable <= 0 or not predicted:
        return None
    padded = np.concatenate([np.asarray(rewards, np.float64), np.zeros(horizon)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, horizon)[:usable]  # [usable, H]
    observed = windows @ discount ** np.arange(horizon)  # [usable]
    gaps = np.asarray(predicted[:usable], np.float64) - observed
    gaps = gaps[~np.isnan(gaps)]
    return float(gaps.mean()) if len(gaps) else None
