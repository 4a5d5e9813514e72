"""What a planner sees of a model: functions, never a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mbrl_cli.models.base import Model
from mbrl_cli.models.imagination import Imagined, follow, imagine
from mbrl_cli.types import ActionSpec, State, Step


@dataclass(frozen=True)
class World:
    """The functions of one model, with discount and random numbers already bound.

    Axes: B environments, N plans, H horizon, A action dim, M rows.
    """

    action: ActionSpec
    # (state of B environments, plans [B, N, H, A], with disagreement?) -> what they come to
    imagine: Callable[[State, Tensor, bool], Imagined]
    # Tree search: lay out root states as rows, then move row by row.
    branch: Callable[[State, int], State]
    step: Callable[[State, Tensor], Step]
    discount: float = 1.0  # per step
    # (rows, actions [H, M, A], steps that count [M]) -> discounted returns [M, P]
    rollout: Callable[[State, Tensor, Tensor], Tensor] | None = None
    # What an agent has learned besides, None where it has not: the discounted return that comes
    # after states of M rows [M, P]; probabilities [M, A] of a Discrete action's choices there,
    # before any search; and plans [B, K, H, A] worth a look from B observed states.
    value: Callable[[State], Tensor] | None = None
    prior: Callable[[State], Tensor] | None = None
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
            model: what planners imagine with.
            discount: per step.
            generator: source of the model's random numbers.
            value: see the field of the same name.
            prior: see the field of the same name.
            propose: see the field of the same name.
            value_after_plans: whether `imagine` adds the value of a plan's last state.
        """
        last_value = value if value_after_plans else None

        def imagine_plans(state: State, plans: Tensor, with_disagreement: bool) -> Imagined:
            return imagine(model, state, plans, discount, generator, with_disagreement, last_value)

        return cls(
            action=model.spec.action,
            imagine=imagine_plans,
            branch=model.branch,
            step=lambda state, action: model.step(state, action, generator),
            discount=discount,
            rollout=lambda rows, actions, steps: follow(
                model, rows, actions, steps, discount, generator
            ),
            value=value,
            prior=prior,
            propose=propose,
        )
