"""Discounted returns of action sequences in a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.models.base import Model
from mbrl_cli.types import State


class PlanEvaluation(NamedTuple):
    """Returns and disagreement of N plans for each of B environments."""

    returns: Tensor  # [B, N, P] discounted; each reward is weighted, see `evaluate_plans`
    disagreement: Tensor | None  # [B, N] of the members, summed over the horizon with these weights


def evaluate_plans(
    model: Model,
    state: State,
    plans: Tensor,
    discount: float,
    generator: torch.Generator,
    with_disagreement: bool = False,
    value: Callable[[State], Tensor] | None = None,
) -> PlanEvaluation:
    """Return the discounted returns of plans from B observed states.

    All plans and particles are imagined in one batch. Each reward has the weight discount^t times
    the probability that the task continues until step t. All plans use the same random numbers, so
    that differences between their returns are due to the plans alone.

    Args:
        model: predicts rewards and continue probabilities.
        state: of B environments, as `Model.observe` returns it.
        plans: [B, N, H, A].
        discount: per step.
        generator: source of the model's random numbers.
        with_disagreement: whether to compute the disagreement.
        value: maps the states of M rows to their values [M, P], which are added as the return after
            the horizon; None: only the rewards within the horizon count.
    """
    num_envs, num_plans, horizon, _ = plans.shape
    actions = plans.flatten(0, 1).transpose(0, 1)  # [H, M, A]
    rows = model.branch(state, num_plans)
    reward, continues, disagreement, last_state = model.unroll(
        rows, actions, generator, with_disagreement
    )
    weight = discount ** torch.arange(horizon, device=reward.device)[:, None, None]  # [H, 1, 1]
    unreachable = None  # [H, M, P] whether the step comes after a certain termination
    if continues is not None:
        # Where the continue probability is NaN the return must be NaN too: mark the reward. The
        # weights stay finite, so that steps after an earlier certain termination count nothing.
        diverged = continues.isnan()
        reward = reward.masked_fill(diverged, float("nan"))
        weight = torch.ones_like(reward).mul_(weight)  # [H, M, P]
        weight[1:] *= continues.masked_fill(diverged, 1.0)[:-1].cumprod(0)
        unreachable = weight == 0.0
    returns = _weighted_sum(reward, weight, unreachable)  # [M, P]
    if value is not None:
        value_weight = weight[-1] * discount  # [1, 1] or [M, P]
        if continues is not None:
            value_weight = value_weight * continues[-1]
        returns += (value(last_state) * value_weight).masked_fill_(value_weight == 0.0, 0.0)
    total_disagreement = None
    if disagreement is not None:
        of_particles = disagreement[..., None].expand_as(reward)  # [H, M, P]
        total_disagreement = _weighted_sum(of_particles, weight, unreachable).mean(-1)  # [M]
        total_disagreement = total_disagreement.view(num_envs, num_plans)
    return PlanEvaluation(returns.view(num_envs, num_plans, -1), total_disagreement)


def rollout_returns(
    model: Model,
    rows: State,
    actions: Tensor,
    steps: Tensor,
    discount: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the discounted returns [M, P] of actions from imagined states.

    All rows use the same random numbers.

    Args:
        model: predicts rewards and continue probabilities.
        rows: imagined states of M rows.
        actions: [H, M, A].
        steps: [M] how many of the H actions count.
        discount: per step.
        generator: source of the model's random numbers.
    """
    reward, continues, _, _ = model.unroll(rows, actions, generator)  # [H, M, P]
    time = torch.arange(len(actions), device=reward.device)[:, None, None]
    weight = discount**time * (time < steps[:, None]) * torch.ones_like(reward)  # [H, M, P]
    if continues is not None:
        weight[1:] *= continues[:-1].cumprod(0)
    return _weighted_sum(reward, weight, unreachable=weight == 0.0)


def _weighted_sum(values: Tensor, weight: Tensor, unreachable: Tensor | None) -> Tensor:
    """Sum values [H, M, P] over the horizon -> [M, P]; unreachable values may be NaN."""
    if unreachable is not None:
        values = values.masked_fill(unreachable, 0.0)  # 0 * NaN would be NaN
    return (values * weight).sum(0)
