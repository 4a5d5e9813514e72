"""Parts of real episodes, along which a latent model is unrolled."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Episodes(NamedTuple):
    """Parts of episodes: H real steps of each of n sequences.

    Where the mask is 0 the episode has ended before, and the other fields are arbitrary.
    """

    first_obs: Tensor  # [n, O]
    action: Tensor  # [H, n, A]
    reward: Tensor  # [H, n]
    next_obs: Tensor  # [H, n, O]
    terminated: Tensor  # [H, n]
    mask: Tensor  # [H, n] 1 while the step belongs to the episode
