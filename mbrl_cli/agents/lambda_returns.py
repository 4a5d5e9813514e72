"""Returns that trust the critic more the further they look (TD(lambda), as in Dreamer)."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_returns(
    reward: Tensor, discount: Tensor, next_value: Tensor, gae_lambda: float
) -> Tensor:
    """Return R [H, N] with R_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda R_{t+1}).

    Beyond the horizon there is the critic alone (DreamerV3, equation 7).

    Args:
        reward: of each step [H, N].
        discount: of what follows each step [H, N]: the discount times the chance to go on.
        next_value: the critic's value of where each step led [H, N].
        gae_lambda: 0 asks the critic after every step, 1 only at the end.
    """
    returns = torch.empty_like(reward)
    paid = torch.addcmul(reward, discount, next_value, value=1.0 - gae_lambda)
    later = next_value[-1]
    trace = discount * gae_lambda
    for step in reversed(range(len(reward))):
        later = torch.addcmul(paid[step], trace[step], later, out=returns[step])
    return returns
