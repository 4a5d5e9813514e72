"""What a planner sees of a model: functions, never a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mbrl_cli.models.imagination import Imagined
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
