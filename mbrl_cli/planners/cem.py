"""Cross-entropy method over plans, with the improvements of iCEM as settings.

Sources: Botev et al. 2013, "The cross-entropy method for optimization"; as a planner with warm
start and momentum: Chua et al. 2018 (PETS), section 5 and appendix A; coloured noise, kept and
shifted elites, a decaying population and the mean as a last candidate: Pinneri et al. 2020,
"Sample-efficient Cross-Entropy Method for Real-time Planning" (iCEM).
Notation there: alpha -> momentum, K -> num_elites, xi -> kept_ratio, beta -> noise_beta, gamma ->
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
    """Sample plans, refit the distribution to the elites, repeat; execute the best plan.

    For each step of the horizon the distribution is a Gaussian clipped to [-1, 1] or, for discrete
    actions, a probability for each choice. Its mean starts from the shifted mean of the last
    decision, its spread from `initial_spread`. The best plans of an iteration are candidates again
    in the next iteration and, shifted, in the next decision.

    Args:
        action: see `TrajectoryPlanner`, as for all arguments that are not listed here.
        population: plans sampled in the first iteration.
        population_decay: factor by which the population shrinks from one iteration to the next.
        elite_ratio: fraction of the population to which the distribution is refitted.
        kept_ratio: fraction of the elites that remain candidates; the best plan always does.
        iterations: refits per decision.
        initial_spread: standard deviation at the first iteration; for discrete actions the
            probability that an action is drawn uniformly.
        min_spread: lower limit of the spread.
        momentum: weight of the old mean and spread in a refit.
        try_mean: whether the mean is a candidate in the last iteration.
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count = 25,
        population: Count = 100,
        population_decay: AtLeastOne = 1.0,
        elite_ratio: PositiveFraction = 0.2,
        kept_ratio: Fraction = 0.0,
        iterations: Count = 3,
        noise_beta: NonNegativeFloat = 1.0,
        initial_spread: Fraction = 0.5,
        min_spread: Fraction = 0.05,
        momentum: Fraction = 0.1,
        try_mean: bool = False,
        risk: Fraction | None = None,
        replan_every: Count = 1,
        max_plan_ms: PositiveFloat | None = None,
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
        # At least twice the elites, so that there is something to select from.
        min_population = min(2 * self.num_elites, population)
        decayed = [int(population * population_decay**-i) for i in range(iterations)]
        self.populations = [max(size, min_population) for size in decayed]

    def initial_memory(self, num_envs: int) -> State:
        """Return the memory at an episode's first step: a neutral mean, and one legal plan."""
        mean = super().initial_memory(num_envs)["mean"]
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
        for iteration in self.deadline.iterations(len(parts), len(mean)):
            plans = self.sample_around(mean, spread, parts[iteration])  # [B, N, H, A]
            plans[:, : kept.shape[1]] = kept
            if self.try_mean and iteration == len(parts) - 1:
                plans[:, -1] = self.nearest_actions(mean)
            scores = self.score(world, state, plans, disagreement_bonus)
            order = scores.score.topk(self.num_elites, dim=1).indices  # [B, num_elites]
            elites = take_plans(plans, order)  # [B, num_elites, H, A]
            finite = scores.score.gather(1, order).isfinite()[..., None, None]
            # If there are fewer finite plans than elites, the best one replaces the others.
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
