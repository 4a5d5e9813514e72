"""TD(lambda) returns of imagined rollouts (DreamerV3, Hafner et al. 2023, equation 7)."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_returns(
    reward: Tensor, discount: Tensor, next_value: Tensor, gae_lambda: float
) -> Tensor:
    """Return R [H, N] with R_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda R_{t+1}).

    After the last step R is the critic's value.

    Args:
        reward: r_t of each step [H, N].
        discount: d_t of each step [H, N], the discount times the probability to continue.
        next_value: v_{t+1}, the critic's value of the state that each step led to [H, N].
        gae_lambda: 0 bootstraps from the critic after every step, 1 only after the last.
    """
    returns = torch.empty_like(reward)
    one_step = torch.addcmul(reward, discount, next_value, value=1.0 - gae_lambda)
    next_return = next_value[-1]
    decay = discount * gae_lambda
    for step in reversed(range(len(reward))):
        next_return = torch.addcmul(one_step[step], decay[step], next_return, out=returns[step])
    return returns
