"""Value targets: n-step returns that end early where the data are off-policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.replay.buffer import ReplayBuffer


class NStepReturns(NamedTuple):
    """Returns without their values: one is `rewards` + `discount` * the value after `row`.

    Axes: n sequences, K + 1 first states of each.
    """

    rewards: Tensor  # [n, K+1] discounted sum
    discount: Tensor  # [n, K+1] of the value; 0 after a termination
    row: Tensor  # [n, K+1] of the sequence: the last one with a reward in the return


def n_step_rewards(
    reward: Tensor, terminated: Tensor, included: Tensor, num_steps: int, discount: float
) -> NStepReturns:
    """Return what the n-step returns of the first K + 1 states of each sequence consist of.

    A return adds up to `num_steps` rewards and the value of the state after them (Schrittwieser et
    al. 2020, section 3). It ends before the first row that is not `included`.

    Axes: n sequences, L = K + `num_steps` consecutive rows.

    Args:
        reward: [n, L].
        terminated: [n, L]; the value after a termination is 0.
        included: [n, L] 1 where a return that started earlier may include the row.
        num_steps: largest number of rewards in a return.
        discount: per step.
    """
    next_included = torch.cat([included[:, 1:], torch.zeros_like(included[:, :1])], dim=1)  # [n, L]
    # By start of the return and step of it: whether the return includes the next step.
    continues = next_included.unfold(1, num_steps, 1).clone()  # [n, K+1, num_steps]
    continues[..., -1] = 0.0
    weight = torch.ones_like(continues)
    weight[..., 1:] = continues[..., :-1].cumprod(-1)
    weight *= discount ** torch.arange(num_steps, device=reward.device)
    rewards = (weight * reward.unfold(1, num_steps, 1)).sum(-1)  # [n, K+1]
    last = continues.argmin(-1)  # [n, K+1] last step of the return
    row = last + torch.arange(last.shape[1], device=last.device)  # [n, K+1]
    last_discount = discount * weight.gather(-1, last[..., None])[..., 0]
    return NStepReturns(rewards, last_discount * (1.0 - terminated.gather(1, row)), row)


def stored_returns(
    replay: ReplayBuffer, rows: np.ndarray, included: Tensor, num_steps: int, discount: float
) -> tuple[NStepReturns, np.ndarray]:
    """Return the n-step returns of stored transitions; see `n_step_rewards`.

    Args:
        replay: real transitions.
        rows: [n, L] of the replay.
        included: [n, L].
        num_steps: largest number of rewards in a return.
        discount: per step.

    Returns:
        the returns, and the rows [n, K + 1] of the replay that their last rewards are in.
    """
    reward, terminated = (torch.from_numpy(field) for field in replay.outcomes(rows))
    returns = n_step_rewards(reward, terminated, included, num_steps, discount)
    return returns, np.take_along_axis(rows, returns.row.numpy(), axis=1)


def n_step_returns(
    reward: Tensor,
    terminated: Tensor,
    next_obs: Tensor,
    included: Tensor,
    value: Callable[[Tensor], Tensor],
    num_steps: int,
    discount: float,
) -> Tensor:
    """Return the n-step returns [n, K + 1] of the first K + 1 states; see `n_step_rewards`.

    Args:
        reward: [n, L].
        terminated: [n, L].
        next_obs: [n, L, O].
        included: [n, L].
        value: maps observations [m, O] to their value [m].
        num_steps: largest number of rewards in a return.
        discount: per step.
    """
    returns = n_step_rewards(reward, terminated, included, num_steps, discount)
    last_obs = next_obs.gather(1, returns.row[..., None].expand(-1, -1, next_obs.shape[-1]))
    last_value = value(last_obs.flatten(0, 1)).view(returns.row.shape)  # [n, K+1]
    return returns.rewards + returns.discount * last_value
