"""What plans come to in a model: the one place that sums up imagined rewards."""

from __future__ import annotations

from collections.abc import Callable
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
    value: Callable[[State], Tensor] | None = None,
) -> Imagined:
    """Unroll `plans` [B, N, H, A] from B observed states, all plans and particles at once.

    Every plan sees the same random numbers, so that differences are the plans' own. Where there is
    a `value` (states of M rows -> [M, P]) it stands for all that comes after the horizon.
    """
    num_envs, num_plans, horizon, _ = plans.shape
    actions = plans.flatten(0, 1).transpose(0, 1)  # [H, M, A]
    rows = model.branch(state, num_plans)
    reward, continues, spread, last = model.unroll(rows, actions, generator, with_disagreement)
    discounts = discount ** torch.arange(horizon, device=reward.device)[:, None, None]  # [H, 1, 1]
    if continues is None:
        weight, over = discounts, None
    else:
        # A step whose end is unknown has no reward either; nor may it hide a certain end before.
        unknown = continues.isnan()
        reward = reward.masked_fill(unknown, float("nan"))
        weight = torch.ones_like(reward).mul_(discounts)  # [H, M, P]
        weight[1:] *= continues.masked_fill(unknown, 1.0)[:-1].cumprod(0)
        # What comes after a certain end must not count, but 0 times a diverged number is NaN.
        over = weight == 0.0
    returns = _total(reward, weight, over)  # [M, P]
    if value is not None:
        far = weight[-1] * discount  # [1, 1] or [M, P]: weight of what comes then
        if continues is not None:
            far = far * continues[-1]
        returns += (value(last) * far).masked_fill_(far == 0.0, 0.0)
    total_spread = None
    if spread is not None:
        each = spread[..., None].expand_as(reward)  # [H, M, P]
        total_spread = _total(each, weight, over).mean(-1).view(num_envs, num_plans)
    return Imagined(returns.view(num_envs, num_plans, -1), total_spread)


def follow(
    model: Model,
    rows: State,
    actions: Tensor,
    steps: Tensor,
    discount: float,
    generator: torch.Generator,
) -> Tensor:
    """Return what actions [H, M, A] come to from imagined rows, the first `steps` [M]: [M, P].

    All rows see the same random numbers.
    """
    reward, continues, _, _ = model.unroll(rows, actions, generator)  # [H, M, P]
    time = torch.arange(len(actions), device=reward.device)[:, None, None]
    weight = discount**time * (time < steps[:, None]) * torch.ones_like(reward)
    if continues is not None:
        weight[1:] *= continues[:-1].cumprod(0)
    return _total(reward, weight, weight == 0.0)


def _total(values: Tensor, weight: Tensor, over: Tensor | None) -> Tensor:
    """Sum values [H, M, P] over the horizon -> [M, P]."""
    counted = values if over is None else values.masked_fill(over, 0.0)
    return (counted * weight).sum(0)
