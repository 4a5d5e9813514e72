"""The functions of a model that a planner may call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mbrl_cli.models.base import Model
from mbrl_cli.models.plan_evaluation import PlanEvaluation, evaluate_plans, rollout_returns
from mbrl_cli.types import ActionSpec, State, Step


@dataclass(frozen=True)
class World:
    """Functions of one model; discount and random numbers are already bound.

    Axes: B environments, N plans, H horizon, A action dim, M rows, P particles.
    """

    action: ActionSpec
    # (states of B environments, plans [B, N, H, A], with disagreement?) -> their returns
    evaluate_plans: Callable[[State, Tensor, bool], PlanEvaluation]
    # (states of B environments, N) -> M = B * N rows of P particles, for `step`
    branch: Callable[[State, int], State]
    # (rows, actions [M, A]) -> next rows, reward and continues
    step: Callable[[State, Tensor], Step]
    discount: float = 1.0  # per step
    # (rows, actions [H, M, A], number of steps that count [M]) -> discounted returns [M, P]
    rollout_returns: Callable[[State, Tensor, Tensor], Tensor] | None = None
    # Learned by the agent; None: not learned.
    # rows -> value: discounted return after these states [M, P]
    value: Callable[[State], Tensor] | None = None
    # rows -> policy: probabilities [M, A] of a discrete action's choices, before any search
    prior: Callable[[State], Tensor] | None = None
    # states of B environments -> plans [B, K, H, A] to add to the planner's candidates
    propose: Callable[[State], Tensor] | None = None

    @classmethod
    def of_model(
        cls,
        model: Model,
        discount: float,
        generator: torch.Generator,
        value: Callable[[State], Tensor] | None = None,
        prior: Callable[[State], Tensor] | None = None,
        propose: Callable[[State], Tensor] | None = None,
        value_after_plans: bool = True,
    ) -> World:
        """Bind a model's functions.

        Args:
            model: the model whose functions are bound.
            discount: per step.
            generator: source of the model's random numbers.
            value: see the field of the same name.
            prior: see the field of the same name.
            propose: see the field of the same name.
            value_after_plans: whether `evaluate_plans` adds the value of a plan's last state.
        """
        last_value = value if value_after_plans else None

        def evaluate(state: State, plans: Tensor, with_disagreement: bool) -> PlanEvaluation:
            return evaluate_plans(
                model, state, plans, discount, generator, with_disagreement, last_value
            )

        return cls(
            action=model.spec.action,
            evaluate_plans=evaluate,
            branch=model.branch,
            step=lambda state, action: model.step(state, action, generator),
            discount=discount,
            rollout_returns=lambda rows, actions, steps: rollout_returns(
                model, rows, actions, steps, discount, generator
            ),
            value=value,
            prior=prior,
            propose=propose,
        )
