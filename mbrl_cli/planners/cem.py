"""Cross-entropy method over plans, for continuous and for discrete actions.

Source: Botev et al. 2013, "The cross-entropy method for optimization"; as a planner with warm
start and momentum: Chua et al. 2018 (PETS), section 5 and appendix A.
Notation: alpha -> momentum, N_e -> num_elites.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.planners.base import Plan, TrajectoryPlanner, take_plans
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, Count, Fraction, State


class CEM(TrajectoryPlanner):
    """Sample plans, refit the distribution to the best of them, repeat.

    The distribution is, for each step of the horizon, a Gaussian clipped to [-1, 1] or, for
    discrete actions, a probability for each choice. It starts from the step before, moved one step
    on, widened to `initial_spread`.
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count,
        population: Count,
        num_elites: Count,
        iterations: Count,
        persistence: Fraction,
        initial_spread: Fraction,
        min_spread: Fraction,
        momentum: Fraction,
        risk: Fraction | None,
    ) -> None:
        super().__init__(action, device, horizon, population, persistence, risk)
        if num_elites > population:
            raise UserError(
                f"planner.num_elites={num_elites}: more than planner.population={population}"
            )
        self.num_elites = num_elites
        self.iterations = iterations
        self.initial_spread = initial_spread
        self.min_spread = min_spread
        self.momentum = momentum

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for B environments; see `TrajectoryPlanner.plan`."""
        mean, best = memory["mean"], memory["best"]  # [B, H, A]
        spread = torch.full_like(mean, self.initial_spread)
        nonfinite = torch.zeros((), dtype=torch.long, device=self.device)
        predicted = torch.zeros(len(mean), device=self.device)
        for _ in range(self.iterations):
            plans = self._sample(mean, spread, generator)  # [B, N, H, A]
            plans[:, 0] = best  # the best plan so far stays in the race
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
            best = elites[:, 0]
            predicted = scores.returns.gather(1, order[:, :1])[:, 0]
            nonfinite += scores.nonfinite
        return Plan(
            action=best[:, 0],
            plan=best,
            predicted_return=predicted,
            memory={"mean": self.shifted(mean), "best": self.shifted(best)},
            nonfinite=nonfinite,
        )

    def _sample(self, mean: Tensor, spread: Tensor, generator: torch.Generator) -> Tensor:
        """Draw plans [B, N, H, A] around mean [B, H, A].

        Spread is a standard deviation or, for discrete actions, the probability that a step is
        drawn uniformly instead of from the mean.
        """
        noise = self.sample_noise(len(mean), self.population, generator)
        if self.action.kind == "continuous":
            plans = mean[:, None] + spread[:, None] * noise
            return plans.clamp_(-1.0, 1.0)
        probabilities = (1.0 - spread) * mean + spread * self.neutral  # [B, H, A]
        return self.choose_discrete(probabilities[:, None], noise)
