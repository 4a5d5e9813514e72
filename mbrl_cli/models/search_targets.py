"""What a search teaches about steps that really happened."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SearchTargets(NamedTuple):
    """Axes: n sequences of K + 1 states with K steps between them, O obs_dim, A choices."""

    obs: Tensor  # [n, K+1, O]
    action: Tensor  # [n, K, A] taken in all but the last
    reward: Tensor  # [n, K]
    terminated: Tensor  # [n, K]
    policy: Tensor  # [n, K+1, A] that the search recommends
    value: Tensor  # [n, K+1]
    inside: Tensor  # [n, K+1] 1 where the episode still goes on, and an action was taken
