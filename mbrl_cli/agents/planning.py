"""Planning with a model, shared by the agents that plan."""

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
from mbrl_cli.replay.reward_scale import RewardScale
from mbrl_cli.types import EnvSpec, State


def cost_advice(planner: Planner, model: Model) -> str:
    """Return which keys to change if the planner's decisions take too long."""
    keys = [key for key in ("num_simulations", "population", "horizon") if hasattr(planner, key)]
    advice = f"lower {' or '.join(f'planner.{key}' for key in keys)}"
    if getattr(model, "propagation", "expectation") != "expectation":
        advice += ", or use model.propagation=expectation, which imagines a plan once"
    return advice


class Planning:
    """Return policies that plan every action with the model as it is at that step.

    Axes: B environments, K proposals, H horizon, M rows, P particles, O obs_dim, A action dim.

    Args:
        spec: the environment.
        model: imagines the plans.
        planner: chooses among them.
        discount: per imagined step.
        exploration: how a policy that collects data changes the planned actions.
        sac: its critics value the last state of a plan; None: rewards after the horizon are
            ignored.
        proposals: number of candidate plans that are rollouts of SAC's actor in the model, for
            planners with `takes_proposals`.

    Raises:
        UserError: if `exploration` or `proposals` does not fit the environment, model or planner.

    Attributes:
        model_version: a number that the agent increases whenever it changes the model's weights.
        reward_scale: unit of the bonus for disagreement; an agent that explores by disagreement
            refits it.
    """

    def __init__(
        self,
        spec: EnvSpec,
        model: Model,
        planner: Planner,
        discount: float,
        exploration: Exploration | None = None,
        sac: SAC | None = None,
        proposals: int = 0,
    ) -> None:
        self.exploration = exploration or Exploration()
        self.exploration.check(spec, model, planner)
        self.proposals = 0 if sac is None else checked_proposals(planner, proposals)
        self.model = model
        self.planner = planner
        self.discount = discount
        self.sac = sac
        self.model_version = 0
        self.reward_scale = RewardScale()

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> PlanningPolicy:
        """Return a policy for these environments; `explore` is true while data are collected."""
        exploration = self.exploration if explore else Exploration()
        return PlanningPolicy(
            model=self.model,
            planner=self.planner,
            make_world=self.world,
            model_version=lambda: self.model_version,
            envs=envs,
            exploration=lambda: exploration,
            reward_scale=self.reward_scale,
            generator=generator,
            discount=self.discount,
            # With a terminal value the predicted return covers all future steps.
            prediction_horizon=self.planner.horizon if self.sac is None else 0,
        )

    def world(self, generator: torch.Generator) -> World:
        """Return the functions that the planner calls, with their random numbers bound."""
        if self.sac is None:
            return World.of_model(self.model, self.discount, generator)
        return World.of_model(
            self.model,
            self.discount,
            generator,
            value=partial(self._value, self.sac),
            propose=partial(self._propose, self.sac, generator) if self.proposals else None,
        )

    def _value(self, sac: SAC, state: State) -> Tensor:
        """Return the critics' value [M, P] of imagined states."""
        obs = self.model.decode(state)  # [M, P, O]
        return sac.state_value(obs.flatten(0, 1)).view(obs.shape[:2])

    def _propose(self, sac: SAC, generator: torch.Generator, state: State) -> Tensor:
        """Return plans [B, K, H, A]: rollouts of the actor, the first one of its modes.

        All particles of a plan share its actions, so the actor gets their mean observation.
        """
        rows = self.model.branch(state, self.proposals)  # M = B * K
        actions: list[Tensor] = []
        for _ in range(self.planner.horizon):
            obs = self.model.decode(rows).mean(1)  # [M, O]
            action = sac.act(obs, generator)  # [M, A]
            action[:: self.proposals] = sac.act(obs[:: self.proposals], None)
            rows = self.model.step(rows, action, generator, common_noise=True).state
            actions.append(action)
        plans = torch.stack(actions, dim=1)  # [M, H, A]
        return plans.view(-1, self.proposals, *plans.shape[1:])


def checked_proposals(planner: Planner, proposals: int) -> int:
    """Return the number of proposals, 0 for a planner that takes none.

    Raises:
        UserError: if they fill the whole population.
    """
    if not planner.takes_proposals:
        return 0
    population = cast(TrajectoryPlanner, planner).population
    if proposals >= population:
        raise UserError(
            f"agent.proposals={proposals}: must be below planner.population={population}"
        )
    return proposals
