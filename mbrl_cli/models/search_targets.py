"""Training targets that tree search derives from real transitions."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SearchTargets(NamedTuple):
    """Axes: n sequences of K + 1 states with K steps between them, O obs_dim, A actions."""

    obs: Tensor  # [n, K+1, O]
    action: Tensor  # [n, K, A] taken in all states but the last
    reward: Tensor  # [n, K]
    terminated: Tensor  # [n, K]
    policy: Tensor  # [n, K+1, A] policy that the search recommends
    value: Tensor  # [n, K+1] n-step return
    # [n, K+1] 1 where the step from the state is one that the search would take, within the mask:
    # only there is the return one of the search policy
    value_mask: Tensor
    mask: Tensor  # [n, K+1] 1 where the state belongs to the episode and is not its last
