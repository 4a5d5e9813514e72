"""Random shooting: sample plans and execute the best one."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.planners.base import Plan
from mbrl_cli.planners.trajectory import TrajectoryPlanner, take_plans
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, Count, Fraction, NonNegativeFloat, PositiveFloat, State


class RandomShooting(TrajectoryPlanner):
    """Choose the best of uniformly sampled plans and the shifted best plan of the last decision.

    See `TrajectoryPlanner` for the arguments.
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count = 25,
        population: Count = 200,
        noise_beta: NonNegativeFloat = 1.0,
        risk: Fraction | None = None,
        replan_every: Count = 1,
        max_plan_ms: PositiveFloat | None = None,
    ) -> None:
        super().__init__(
            action, device, horizon, population, noise_beta, risk, replan_every, max_plan_ms
        )

    def initial_memory(self, num_envs: int) -> State:
        """Return a legal plan: the first decision's additional candidate."""
        return {"best": self.nearest_actions(super().initial_memory(num_envs)["mean"])}

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for B environments; see `Planner.plan`."""
        best = memory["best"]  # [B, H, A]
        nonfinite = torch.zeros((), dtype=torch.long, device=self.device)
        predicted = torch.full((len(best),), float("nan"), device=self.device)
        for _ in self.deadline.iterations(1, len(best)):
            plans = self.random_plans(len(best), generator)  # [B, N, H, A]
            # The last index loses ties: among equally good plans a new one is preferred.
            plans[:, -1] = memory["best"]
            if world.propose is not None:
                proposed = world.propose(state)  # [B, K, H, A]
                plans[:, : proposed.shape[1]] = proposed
            scores = self.score(world, state, plans, disagreement_bonus)
            chosen = scores.score.argmax(1, keepdim=True)  # [B, 1]
            best = take_plans(plans, chosen)[:, 0]  # [B, H, A]
            predicted = scores.returns.gather(1, chosen)[:, 0]
            nonfinite = scores.nonfinite
        return Plan(
            actions=best,
            predicted_return=predicted,
            memory={"best": self.shifted(best)},
            nonfinite=nonfinite,
        )

    def random_plans(self, num_envs: int, generator: torch.Generator) -> Tensor:
        """Draw plans [B, N, H, A] whose actions are uniform over the legal ones at every step."""
        noise = self.sample_noise(num_envs, self.population, generator)  # [B, N, H, A]
        if self.action.kind == "discrete":
            return self.choose_discrete(self.neutral, noise)
        return torch.erf(noise / 2.0**0.5)  # standard normal -> uniform in [-1, 1]
