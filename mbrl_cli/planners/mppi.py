"""Model-predictive path integral control: average all plans, the better ones weighing more.

Source: Williams et al. 2017, "Information Theoretic MPC for Model-Based Reinforcement Learning".
Notation there: lambda -> temperature, Sigma -> spread squared. Noise is coloured along the horizon
(Pinneri et al. 2020) instead of smoothed afterwards.
"""

from __future__ import annotations

import torch

from mbrl_cli.planners.base import Plan
from mbrl_cli.planners.trajectory import TrajectoryPlanner
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, Count, Fraction, NonNegativeFloat, PositiveFloat, State


class MPPI(TrajectoryPlanner):
    """Move the mean plan to the average of sampled plans, weighted by exp(return / temperature).

    The temperature counts in standard deviations of the sampled plans' returns, so that one value
    suits every task. The mean is executed, and starts the next decision, moved on. For discrete
    actions it holds probabilities: plans are drawn from it, mixed with the uniform distribution by
    `spread`, and its likeliest actions are executed.
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count,
        population: Count,
        iterations: Count,
        noise_beta: NonNegativeFloat,
        spread: Fraction,
        temperature: PositiveFloat,
        risk: Fraction | None,
        replan_every: Count,
        max_plan_ms: PositiveFloat | None,
    ) -> None:
        super().__init__(
            action, device, horizon, population, noise_beta, risk, replan_every, max_plan_ms
        )
        self.iterations = iterations
        self.spread = spread
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
        noise = self.sample_noise(len(mean), self.population * self.iterations, generator)
        parts = torch.split(noise, self.population, dim=1)  # each [B, N, H, A]
        offered = self.nearest_actions(mean)[:, None]  # [B, K, H, A], later the mean alone
        if world.propose is not None:
            offered = torch.cat([offered, world.propose(state)], dim=1)
        for iteration in self.deadline.rounds(self.iterations, len(mean)):
            plans = self.sample_around(mean, spread, parts[iteration])  # [B, N, H, A]
            plans[:, : offered.shape[1]] = offered
            scores = self.score(world, state, plans, disagreement_bonus)
            weights = self._weights(scores.score)  # [B, N]
            mean = (weights[..., None, None] * plans).sum(1)
            predicted = scores.returns[:, 0]  # of the mean before this iteration, now better
            nonfinite += scores.nonfinite
            offered = self.nearest_actions(mean)[:, None]
        return Plan(
            actions=self.nearest_actions(mean),
            predicted_return=predicted,
            memory={"mean": self.shifted(mean)},
            nonfinite=nonfinite,
        )

    def _weights(self, score: torch.Tensor) -> torch.Tensor:
        """Map scores [B, N], -inf where a plan diverged, to weights [B, N] that sum to 1."""
        finite = score.isfinite()
        count = finite.sum(1, keepdim=True).clamp_min(1)
        kept = score.masked_fill(~finite, 0.0)
        average = kept.sum(1, keepdim=True) / count
        away = (score - average).masked_fill(~finite, 0.0)
        std = (away.square().sum(1, keepdim=True) / count).sqrt()  # [B, 1]
        # All plans equal: all weigh the same. All diverged: likewise, for want of anything better.
        scaled = away / (self.temperature * std).clamp_min(1e-12)
        lost = ~finite & finite.any(1, keepdim=True)
        return scaled.masked_fill(lost, float("-inf")).softmax(1)
