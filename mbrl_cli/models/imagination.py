"""The one place that unrolls a model along plans."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.models.base import Model
from mbrl_cli.types import State


class Imagined(NamedTuple):
    """What plans come to in the model."""

    returns: Tensor  # [B, N, P] discounted, each reward weighted by the chance to get that far
    disagreement: Tensor | None  # [B, N] members' spread, summed over the horizon in the same way


def imagine(
    model: Model,
    state: State,
    plans: Tensor,
    discount: float,
    generator: torch.Generator,
    with_disagreement: bool = False,
) -> Imagined:
    """Unroll `plans` [B, N, H, A] from B observed states, all plans and particles at once.

    Every plan sees the same random numbers, so that differences are the plans' own.
    """
    num_envs, num_plans, horizon, _ = plans.shape
    actions = plans.flatten(0, 1).transpose(0, 1).contiguous()  # [H, M, A]
    state = model.branch(state, num_plans)
    rewards, continues, spreads = [], [], []
    for t in range(horizon):
        state, reward, goes_on = model.step(state, actions[t], generator, common_noise=True)
        rewards.append(reward)
        continues.append(goes_on)
        if with_disagreement:
            spreads.append(model.disagreement(state)[:, None].expand_as(reward))
    return Imagined(
        _total(rewards, continues, discount).view(num_envs, num_plans, -1),
        _total(spreads, continues, discount).mean(1).view(num_envs, num_plans)
        if with_disagreement
        else None,
    )


def _total(values: list[Tensor], continues: list[Tensor], discount: float) -> Tensor:
    """Sum the values [M, P] of all steps, discounted and weighted by the chance to get there."""
    total = _weighted_sum(values, continues, discount)
    if bool(total.isfinite().all()):
        return total
    # What is imagined after a certain end must not count, but 0 times a diverged number is NaN.
    over = torch.zeros_like(total, dtype=torch.bool)
    kept, going = [], []
    for value, goes_on in zip(values, continues, strict=True):
        kept.append(value.masked_fill(over, 0.0))
        going.append(goes_on.masked_fill(over, 0.0))
        over = over | (going[-1] == 0.0)
    return _weighted_sum(kept, going, discount)


def _weighted_sum(values: list[Tensor], continues: list[Tensor], discount: float) -> Tensor:
    total = torch.zeros_like(values[0])
    weight = torch.ones_like(total)
    for value, goes_on in zip(values, continues, strict=True):
        total.addcmul_(weight, value)
        weight = weight * goes_on
        if discount != 1.0:
            weight *= discount
    return total
