"""Random shooting: sample plans, take the best one's first action."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.planners.base import Plan, TrajectoryPlanner, take_plans
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, Count, Fraction, State


class RandomShooting(TrajectoryPlanner):
    """Judge uniformly sampled plans, and the best plan of the step before, moved one step on."""

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count,
        population: Count,
        persistence: Fraction,
        risk: Fraction | None,
    ) -> None:
        super().__init__(action, device, horizon, population, persistence, risk)

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for B environments; see `TrajectoryPlanner.plan`."""
        plans = self._sample(memory, generator)  # [B, N, H, A]
        scores = self.score(world, state, plans, disagreement_bonus)
        best = scores.score.argmax(1, keepdim=True)  # [B, 1]
        plan = take_plans(plans, best)[:, 0]  # [B, H, A]
        return Plan(
            action=plan[:, 0],
            plan=plan,
            predicted_return=scores.returns.gather(1, best)[:, 0],
            memory={"mean": memory["mean"], "best": self.shifted(plan)},
            nonfinite=scores.nonfinite,
        )

    def _sample(self, memory: State, generator: torch.Generator) -> Tensor:
        noise = self.sample_noise(len(memory["best"]), self.population, generator)
        if self.action.kind == "discrete":
            uniform = memory["mean"][:, None].expand(-1, self.population, -1, -1)
            plans = self.choose_discrete(uniform, noise)
        else:
            plans = torch.erf(noise / 2.0**0.5)  # a standard normal number, made uniform in [-1, 1]
        plans[:, 0] = memory["best"]
        return plans
