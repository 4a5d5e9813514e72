"""Exploration of planning agents: noise, samples, random actions, or a bonus for disagreement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mbrl_cli.agents.random import random_actions
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Planner
from mbrl_cli.types import EnvSpec

ExplorationKind = Literal["none", "noise", "epsilon", "disagreement", "sample"]


@dataclass(frozen=True)
class Exploration:
    """Change planned actions while data are collected.

    Attributes:
        kind: "noise" adds Gaussian noise to continuous actions; "epsilon" replaces some actions by
            random ones; "disagreement" adds the disagreement of the ensemble members to the reward
            of a plan; "sample" executes a sample of the planner's last distribution of plans;
            "none" executes the planned actions.
        noise_std: standard deviation of "noise", for actions in [-1, 1].
        epsilon: probability of a random action for "epsilon".
        disagreement_bonus: reward for each unit of disagreement for "disagreement"; in typical
            rewards, see `RewardScale`.
    """

    kind: ExplorationKind = "none"
    noise_std: float = 0.1
    epsilon: float = 0.05
    disagreement_bonus: float = 1.0

    @property
    def bonus(self) -> float:
        """Return the typical rewards for each unit of disagreement that the planner adds."""
        return self.disagreement_bonus if self.kind == "disagreement" else 0.0

    def check(self, spec: EnvSpec, model: Model, planner: Planner) -> None:
        """Raise UserError if this kind does not fit the environment, the model or the planner."""
        if self.kind == "noise" and spec.action.kind == "discrete":
            raise UserError(
                "agent.explore=noise: needs continuous actions; "
                f"{spec.id} has discrete ones: use epsilon, disagreement or none"
            )
        if self.kind == "sample" and not planner.draws_sample:
            raise UserError(
                "agent.explore=sample: needs planner=mppi_elite, whose distribution of plans is "
                "refitted; else use noise, epsilon or none"
            )
        if self.kind == "disagreement" and not model.has_disagreement:
            raise UserError(
                "agent.explore=disagreement: needs a model with several members "
                "(model=ensemble or model=gaussian_ensemble); else use epsilon, noise or none"
            )
        if self.kind == "disagreement" and not planner.uses_disagreement:
            raise UserError(
                "agent.explore=disagreement: needs a planner over whole plans (cem, icem, mppi, "
                "random_shooting); with planner=mcts use epsilon, noise or none"
            )

    def apply(
        self,
        action: Tensor,
        spec: EnvSpec,
        generator: torch.Generator,
        cpu_generator: torch.Generator,
    ) -> Tensor:
        """Return the actions to execute for planned actions [B, A].

        Args:
            action: planned actions.
            spec: the environment.
            generator: source of the noise, and of the choice of actions to replace; on the
                planner's device.
            cpu_generator: source of the random actions of "epsilon".
        """
        device = generator.device
        if self.kind == "noise":
            noise = torch.randn(action.shape, generator=generator, device=device)
            return (action + self.noise_std * noise.to(action.device)).clamp(-1.0, 1.0)
        if self.kind == "epsilon":
            uniform = torch.rand(len(action), 1, generator=generator, device=device)
            replaced = (uniform < self.epsilon).to(action.device)
            other = random_actions(spec.action, len(action), cpu_generator)
            return torch.where(replaced, torch.from_numpy(other).to(action), action)
        return action
