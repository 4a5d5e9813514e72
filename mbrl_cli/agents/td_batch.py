"""Batches for temporal-difference learning: transitions and the n-step returns that start there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.models.n_step_returns import stored_returns
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Batch


class TDBatch(NamedTuple):
    """The n-step return after an action is `reward` + `discount` * the value of `next_obs`.

    Axes: U gradient steps, n rows.
    """

    obs: Tensor  # [U, n, O]
    action: Tensor  # [U, n, A] encoded
    reward: Tensor  # [U, n] discounted sum of the rewards of the return
    next_obs: Tensor  # [U, n, O] after the last of these rewards
    discount: Tensor  # [U, n] of the value; 0 after a termination

    @classmethod
    def of_transitions(cls, batch: Batch, discount: float) -> TDBatch:
        """Return the batch with one reward in each return.

        Args:
            batch: [U, n, ...].
            discount: per step.
        """
        value_discount = discount * (1.0 - batch.terminated)
        return cls(batch.obs, batch.action, batch.reward, batch.next_obs, value_discount)


def n_step_batch(
    replay: ReplayBuffer,
    rows: np.ndarray,
    td_steps: int,
    discount: float,
    device: torch.device,
) -> TDBatch:
    """Return the transitions at `rows` [U, n] with n-step returns.

    Args:
        replay: real transitions.
        rows: of the replay.
        td_steps: rewards of a return; fewer where the episode ends before, or ends with the newest
            transition of the replay.
        discount: per step.
        device: for the returned tensors.
    """
    first = replay.batch(rows, device)
    if td_steps == 1:
        return TDBatch.of_transitions(first, discount)
    following, inside = replay.consecutive_rows(rows.ravel(), td_steps)  # [U * n, td_steps]
    included = torch.from_numpy(inside).float()
    returns, last = stored_returns(replay, following, included, td_steps, discount)  # [U * n, 1]
    return TDBatch(
        first.obs,
        first.action,
        returns.rewards.view(rows.shape).to(device),
        replay.batch(last.reshape(rows.shape), device).next_obs,
        returns.discount.view(rows.shape).to(device),
    )
