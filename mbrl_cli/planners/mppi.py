"""Model-predictive path integral control: a weighted average of all plans.

Source: Williams et al. 2017, "Information Theoretic MPC for Model-Based Reinforcement Learning".
Notation there: lambda -> temperature, Sigma -> spread squared. Noise is coloured along the horizon
(Pinneri et al. 2020) instead of smoothed afterwards. Averages over the best plans alone, with a
refitted spread: Hansen et al. 2022 (TD-MPC), section 3 and algorithm 1.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from mbrl_cli.planners.base import Plan
from mbrl_cli.planners.trajectory import TrajectoryPlanner, take_plans
from mbrl_cli.planners.world import World
from mbrl_cli.types import (
    ActionSpec,
    Bounds,
    Count,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    State,
)


class MPPI(TrajectoryPlanner):
    """Move the mean plan to the average of sampled plans, weighted by exp(return / temperature).

    The temperature is in standard deviations of the sampled plans' returns, so that one value suits
    every task. The mean is executed and, shifted, starts the next decision. For discrete actions
    the mean holds probabilities: plans are drawn from its mixture with the uniform distribution,
    and its most probable actions are executed.

    With a refitted spread one of the averaged plans is executed instead of the mean, drawn by
    weight. Where the best plans differ, as left and right of a hanging pole do, their mean is
    none of them.

    Args:
        action: see `TrajectoryPlanner`, as for all arguments that are not listed here.
        population: plans sampled in each iteration.
        iterations: averages per decision.
        spread: standard deviation of the sampled actions; for discrete actions the probability
            that an action is drawn uniformly, at most 1.
        min_spread: None: the spread is constant. Else it is the lower limit of a spread that is
            refitted in each iteration to the weighted plans and, for discrete actions, the spread
            after the first iteration. The policy's proposals are then candidates in all iterations.
        elite_ratio: fraction of the plans, the best ones, that are averaged.
        temperature: lower values give more weight to the best plans.
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count = 25,
        population: Count = 100,
        iterations: Count = 3,
        noise_beta: NonNegativeFloat = 1.0,
        spread: Annotated[float, Bounds(0.0, 2.0)] = 0.5,
        min_spread: Fraction | None = None,
        elite_ratio: PositiveFraction = 1.0,
        temperature: PositiveFloat = 0.3,
        risk: Fraction | None = None,
        replan_every: Count = 1,
        max_plan_ms: PositiveFloat | None = None,
    ) -> None:
        super().__init__(
            action, device, horizon, population, noise_beta, risk, replan_every, max_plan_ms
        )
        self.iterations = iterations
        self.spread = min(spread, 1.0) if action.kind == "discrete" else spread
        self.min_spread = min_spread
        self.draws_sample = min_spread is not None
        self.num_elites = max(1, round(elite_ratio * population))
        self.temperature = temperature

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for B environments; see `Planner.plan`."""
        mean = memory["mean"]  # [B, H, A]
        spread = torch.full_like(mean, self.spread)
        nonfinite = torch.zeros((), dtype=torch.long, device=self.device)
        predicted = torch.full((len(mean),), float("nan"), device=self.device)
        num_plans = self.population * self.iterations
        noise = self.sample_noise(len(mean), num_plans + self.draws_sample, generator)
        parts = torch.split(noise, self.population, dim=1)  # each [B, N, H, A]
        executed = self.nearest_actions(mean)  # [B, H, A]
        candidates = executed[:, None]  # [B, 1, H, A]
        proposals = None if world.propose is None else world.propose(state)  # [B, K, H, A]
        if proposals is not None:
            candidates = torch.cat([candidates, proposals], dim=1)  # [B, 1 + K, H, A]
        for iteration in self.deadline.iterations(self.iterations, len(mean)):
            plans = self.sample_around(mean, spread, parts[iteration])  # [B, N, H, A]
            plans[:, : candidates.shape[1]] = candidates
            scores = self.score(world, state, plans, disagreement_bonus)
            score = scores.score
            if self.num_elites < self.population:
                score, best = score.topk(self.num_elites, dim=1)
                plans = take_plans(plans, best)
            weights = self._weights(score)[..., None, None]  # [B, N, 1, 1]
            mean = (weights * plans).sum(1)  # [B, H, A]
            predicted = scores.returns[:, 0]  # of the mean before this iteration
            nonfinite += scores.nonfinite
            executed = self.nearest_actions(mean)
            candidates = executed[:, None]
            if self.min_spread is not None:
                spread = self._refitted_spread(plans, weights, mean, self.min_spread)
                executed = draw_plan(plans, weights, generator)
                if proposals is not None:
                    candidates = torch.cat([candidates, proposals], dim=1)
        sampled = None
        if self.draws_sample:
            sampled = self.sample_around(executed, spread, noise[:, num_plans:])[:, 0]
        return Plan(
            actions=executed,
            predicted_return=predicted,
            memory={"mean": self.shifted(mean)},
            nonfinite=nonfinite,
            sampled=sampled,
        )

    def _refitted_spread(
        self, plans: Tensor, weights: Tensor, mean: Tensor, min_spread: float
    ) -> Tensor:
        """Return the spread [B, H, A] of plans [B, N, H, A] with weights [B, N, 1, 1]."""
        if self.action.kind == "discrete":
            return torch.full_like(mean, min_spread)
        variance = (weights * (plans - mean[:, None]).square()).sum(1)
        return variance.sqrt().clamp_min(min_spread)

    def _weights(self, score: Tensor) -> Tensor:
        """Map scores [B, N], -inf where a plan diverged, to weights [B, N] that sum to 1."""
        finite = score.isfinite()
        count = finite.sum(1, keepdim=True).clamp_min(1)
        mean = score.masked_fill(~finite, 0.0).sum(1, keepdim=True) / count  # [B, 1]
        deviation = (score - mean).masked_fill(~finite, 0.0)
        std = (deviation.square().sum(1, keepdim=True) / count).sqrt()  # [B, 1]
        scaled = deviation / (self.temperature * std).clamp_min(torch.finfo(std.dtype).tiny)
        # A diverged plan has weight 0. If all plans diverged, or are equal, they weigh the same.
        excluded = ~finite & finite.any(1, keepdim=True)
        return scaled.masked_fill(excluded, float("-inf")).softmax(1)


def draw_plan(plans: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Return one of N plans [B, N, H, A] for each environment, drawn by weight [B, N, 1, 1]."""
    uniform = torch.rand(len(plans), 1, generator=generator, device=generator.device)  # [B, 1]
    cumulative = weights[:, :, 0, 0].cumsum(1)  # [B, N]
    drawn = uniform.to(plans.device) * cumulative[:, -1:]
    index = (cumulative <= drawn).sum(1, keepdim=True).clamp_max(plans.shape[1] - 1)  # [B, 1]
    return take_plans(plans, index)[:, 0]
