"""The contract of planners: what an agent may ask of a planner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.planners.deadline import Deadline
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, State


class Plan(NamedTuple):
    """A decision for B environments."""

    actions: Tensor  # [B, H, A] the first one is executed now
    # [B] return that the model predicts for the plan, without any bonus; NaN or None: unknown
    predicted_return: Tensor | None = None
    memory: State | None = None  # carried to the next decision: tensors with leading axis B
    nonfinite: Tensor | int = 0  # number of imagined plans whose return was not finite
    sampled: Tensor | None = None  # [B, H, A] a sample of the planner's last distribution of plans


class Planner(ABC):
    """Base class of all planners.

    Discrete actions are one-hot blocks; continuous actions lie in [-1, 1].

    Axes: B environments, H horizon, A action dim.

    Args:
        action: how actions are encoded.
        device: where plans live; the model's device.
        horizon: steps that `Plan.predicted_return` covers.
        replan_every: environment steps from one decision to the next. The plan's own actions are
            executed in between, so a plan needs that many steps.
        max_plan_ms: time budget of a decision in milliseconds for each environment; None: no
            limit. A planner keeps it by asking `deadline` before each iteration.

    Raises:
        UserError: if `replan_every` is larger than `horizon`.

    Attributes:
        device, horizon, replan_every: the arguments of the same names.
        deadline: time budget of a decision.
        is_static: whether every decision runs the same operations on tensors of the same shapes,
            so that a CUDA graph can replay them.
        uses_disagreement: whether `plan` uses `disagreement_bonus`.
        takes_proposals: whether `plan` evaluates the plans of `World.propose`. Such a planner has
            the attribute `population`, its number of candidates.
        draws_sample: whether `plan` returns `Plan.sampled`, for exploration.
        is_tree_search: whether the planner has the method `search` of `MCTS`.
    """

    device: torch.device
    horizon: int
    replan_every: int
    deadline: Deadline
    is_static: bool = False
    uses_disagreement: bool = False
    takes_proposals: bool = False
    draws_sample: bool = False
    is_tree_search: bool = False

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: int = 1,
        replan_every: int = 1,
        max_plan_ms: float | None = None,
    ) -> None:
        if replan_every > horizon:
            raise UserError(
                f"planner.replan_every={replan_every}: more than planner.horizon={horizon}"
            )
        self.action = action
        self.device = device
        self.horizon = horizon
        self.replan_every = replan_every
        self.deadline = Deadline(max_plan_ms, device)

    def initial_memory(self, num_envs: int) -> State:
        """Return the memory before the first decision of an episode."""
        return {}

    @abstractmethod
    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for the B environments in `state`.

        Args:
            world: functions of the model.
            state: observed states, leading axis B.
            memory: `Plan.memory` of the decision before, or `initial_memory`.
            generator: source of all random numbers.
            disagreement_bonus: reward for each unit of the members' disagreement (exploration).
        """
