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
    rows = num_envs * num_plans
    returns = torch.zeros(rows, model.num_particles, device=actions.device)  # [M, P]
    weight = torch.ones_like(returns)  # discount times the chance that the task still goes on
    spread = torch.zeros(rows, device=actions.device) if with_disagreement else None  # [M]
    for t in range(horizon):
        state, reward, continues = model.step(state, actions[t], generator, common_noise=True)
        over = weight == 0.0  # 0 times a diverged number would be NaN
        returns.addcmul_(weight, reward.masked_fill(over, 0.0))
        if spread is not None:
            spread += weight.mean(1) * model.disagreement(state)
        weight = weight * continues.masked_fill(over, 0.0)
        if discount != 1.0:
            weight *= discount
    return Imagined(
        returns.view(num_envs, num_plans, -1),
        None if spread is None else spread.view(num_envs, num_plans),
    )
