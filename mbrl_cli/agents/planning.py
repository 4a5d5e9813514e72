"""What planning agents share: a model, a planner and, if there is one, a learned actor-critic."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor

from mbrl_cli.agents.exploration import Exploration
from mbrl_cli.agents.planning_policy import PlanningPolicy
from mbrl_cli.agents.sac import SAC
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Planner
from mbrl_cli.planners.trajectory import TrajectoryPlanner
from mbrl_cli.planners.world import World
from mbrl_cli.types import EnvSpec, State


class Planning:
    """Return policies that plan every action with the model as it is at that step.

    Args:
        spec: the environment.
        model: imagines the plans.
        planner: chooses among them.
        discount: per imagined step.
        exploration: how a policy that collects data changes the planned actions.
        learned: actor-critic whose critics give the value of a plan's last state; None: the
            planner ignores everything after its horizon.
        proposals: number of candidates that are rollouts of its actor in the model, for planners
            with `takes_proposals`.

    Raises:
        UserError: if `exploration` or `proposals` does not fit the environment, model or planner.
    """

    def __init__(
        self,
        spec: EnvSpec,
        model: Model,
        planner: Planner,
        discount: float,
        exploration: Exploration | None = None,
        learned: SAC | None = None,
        proposals: int = 0,
    ) -> None:
        self.exploration = exploration or Exploration()
        self.exploration.check(spec, model, planner)
        self.proposals = 0
        if learned is not None and planner.takes_proposals:
            population = cast(TrajectoryPlanner, planner).population
            if proposals >= population:
                raise UserError(
                    f"agent.proposals={proposals}: must be below planner.population={population}"
                )
            self.proposals = proposals
        self.model = model
        self.planner = planner
        self.discount = discount
        self.learned = learned
        self.num_fits = 0  # how often the model's weights have changed

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> PlanningPolicy:
        """Return a policy for these environments; `explore` is true while data are collected."""
        return PlanningPolicy(
            self.model,
            self.planner,
            self.world,
            lambda: self.num_fits,
            envs,
            self.exploration if explore else Exploration(),
            generator,
            self.discount,
            # With a terminal value a prediction covers all future steps, not the horizon.
            self.planner.horizon if self.learned is None else 0,
        )

    def world(self, generator: torch.Generator) -> World:
        """Return the functions that the planner calls, with their random numbers bound."""
        return World.of_model(
            self.model,
            self.discount,
            generator,
            value=None if self.learned is None else self._value,
            propose=partial(self._proposals, generator) if self.proposals else None,
        )

    def _value(self, state: State) -> Tensor:
        """Return the learned critics' value [M, P] of imagined states."""
        assert self.learned is not None
        obs = self.model.decode(state)  # [M, P, O]
        return self.learned.state_value(obs.flatten(0, 1)).view(obs.shape[:2])

    def _proposals(self, generator: torch.Generator, state: State) -> Tensor:
        """Return plans [B, K, H, A]: rollouts of the actor, the first one without noise.

        A plan has one action for all its particles, so the actor sees their mean observation.
        """
        assert self.learned is not None
        rows = self.model.branch(state, self.proposals)  # M = B * K
        actions: list[Tensor] = []
        for _ in range(self.planner.horizon):
            obs = self.model.decode(rows).mean(1)  # [M, O]
            action = self.learned.act(obs, generator)  # [M, A]
            action[:: self.proposals] = self.learned.act(obs[:: self.proposals], None)
            rows = self.model.step(rows, action, generator, common_noise=True).state
            actions.append(action)
        plans = torch.stack(actions, dim=1)  # [M, H, A]
        return plans.view(-1, self.proposals, *plans.shape[1:])
