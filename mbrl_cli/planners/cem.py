"""Cross-entropy method over plans, with the improvements of iCEM, each of them a setting.

Sources: Botev et al. 2013, "The cross-entropy method for optimization"; as a planner with warm
start and momentum: Chua et al. 2018 (PETS), section 5 and appendix A; coloured noise, kept and
shifted elites, a shrinking population and the mean as a last candidate: Pinneri et al. 2020,
"Sample-efficient Cross-Entropy Method for Real-time Planning".
Notation there: alpha -> momentum, K -> elites, xi -> kept_ratio, beta -> noise_beta, gamma ->
population_decay.
"""

from __future__ import annotations

import math

import torch

from mbrl_cli.planners.base import Plan
from mbrl_cli.planners.trajectory import TrajectoryPlanner, take_plans
from mbrl_cli.planners.world import World
from mbrl_cli.types import (
    ActionSpec,
    AtLeastOne,
    Count,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    State,
)


class CEM(TrajectoryPlanner):
    """Sample plans, refit the distribution to the best of them, repeat; execute the best plan.

    The distribution is, for each step of the horizon, a Gaussian clipped to [-1, 1] or, for
    discrete actions, a probability for each choice. It starts from the decision before, moved on,
    widened to `initial_spread`. The best plan of an iteration, or more (`kept_ratio` of
    the elites), stays in the race in the next one and, moved on, in the next decision.
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count,
        population: Count,
        population_decay: AtLeastOne,
        elite_ratio: PositiveFraction,
        kept_ratio: Fraction,
        iterations: Count,
        noise_beta: NonNegativeFloat,
        initial_spread: Fraction,
        min_spread: Fraction,
        momentum: Fraction,
        try_mean: bool,
        risk: Fraction | None,
        replan_every: Count,
        max_plan_ms: PositiveFloat | None,
    ) -> None:
        super().__init__(
            action, device, horizon, population, noise_beta, risk, replan_every, max_plan_ms
        )
        self.num_elites = min(max(2, round(elite_ratio * population)), population)
        self.num_kept = max(1, math.ceil(kept_ratio * self.num_elites))
        self.initial_spread = initial_spread
        self.min_spread = min_spread
        self.momentum = momentum
        self.try_mean = try_mean
        # A shrinking population keeps twice the elites, or there would be nothing to choose from.
        smallest = min(2 * self.num_elites, population)
        shrunk = [int(population * population_decay**-i) for i in range(iterations)]
        self.populations = [max(size, smallest) for size in shrunk]

    def initial_memory(self, num_envs: int) -> State:
        """Return what is known before an episode's first step: a mean that knows nothing."""
        mean = super().initial_memory(num_envs)["mean"]
        # Elites are only offered again as candidates; before there are any it is one legal plan.
        return {"mean": mean, "elites": self.nearest_actions(mean)[:, None]}  # [B, 1, H, A]

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for B environments; see `Planner.plan`."""
        mean, kept = memory["mean"], memory["elites"]  # [B, H, A], [B, K, H, A]
        spread = torch.full_like(mean, self.initial_spread)
        nonfinite = torch.zeros((), dtype=torch.long, device=self.device)
        predicted = torch.full((len(mean),), float("nan"), device=self.device)
        noise = self.sample_noise(len(mean), sum(self.populations), generator)
        if world.propose is not None:
            kept = torch.cat([kept, world.propose(state)], dim=1)[:, : self.population]
        parts = torch.split(noise, self.populations, dim=1)  # each [B, N, H, A]
        for iteration in self.deadline.rounds(len(parts), len(mean)):
            plans = self.sample_around(mean, spread, parts[iteration])  # [B, N, H, A]
            plans[:, : kept.shape[1]] = kept
            if self.try_mean and iteration == len(parts) - 1:
                plans[:, -1] = self.nearest_actions(mean)
            scores = self.score(world, state, plans, disagreement_bonus)
            order = scores.score.topk(self.num_elites, dim=1).indices  # [B, num_elites]
            elites = take_plans(plans, order)  # [B, num_elites, H, A]
            finite = scores.score.gather(1, order).isfinite()[..., None, None]
            # With fewer finite plans than elites the best one stands in for the rest.
            elites = torch.where(finite, elites, elites[:, :1])
            mean = self.momentum * mean + (1.0 - self.momentum) * elites.mean(1)
            if self.action.kind == "continuous":
                new_spread = elites.std(1, unbiased=False)
                spread = self.momentum * spread + (1.0 - self.momentum) * new_spread
                spread = spread.clamp_min(self.min_spread)
            else:
                spread = torch.full_like(mean, self.min_spread)
            kept = elites[:, : self.num_kept]
            predicted = scores.returns.gather(1, order[:, :1])[:, 0]
            nonfinite += scores.nonfinite
        return Plan(
            actions=kept[:, 0],
            predicted_return=predicted,
            memory={"mean": self.shifted(mean), "elites": self.shifted(kept)},
            nonfinite=nonfinite,
        )
