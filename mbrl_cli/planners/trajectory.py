"""Base class of planners over action sequences, and the sampling that they share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.planners.base import Planner
from mbrl_cli.planners.noise import noise_colour
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, State


class Scores(NamedTuple):
    """Plans judged: what is maximised, and the part of it that is return."""

    score: Tensor  # [B, N] -inf where the return was not finite
    returns: Tensor  # [B, N] the same without the bonus
    nonfinite: Tensor  # [] how many were not finite


class TrajectoryPlanner(Planner):
    """Choose among N sampled action sequences by what they come to in the world.

    Discrete actions are one-hot blocks, continuous ones lie in [-1, 1]; both are planned alike:
    a distribution over plans is one mean [B, H, A] (for discrete actions: probabilities).

    Args:
        action: how actions are encoded.
        device: where plans live; the model's device.
        horizon: imagined steps per plan.
        population: plans sampled at a time.
        noise_beta: exponent of the power spectrum of a plan's random numbers: 0 is white noise,
            with 1 (pink) and 2 (red) plans push the same way for longer.
        risk: None judges a plan by its mean over particles, a number in (0, 1] by that quantile
            (below 0.5 is cautious).
        replan_every: environment steps from one decision to the next; the actions between are the
            plan's own.
        max_plan_ms: milliseconds that a decision may take for each environment; None: as many as
            it needs.
    """

    is_static = True
    uses_disagreement = True
    takes_proposals = True

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: int,
        population: int,
        noise_beta: float,
        risk: float | None,
        replan_every: int,
        max_plan_ms: float | None,
    ) -> None:
        super().__init__(action, device, horizon, replan_every, max_plan_ms)
        self.population = population
        self.risk = risk
        # What makes white noise coloured [H, H]; None where it stays white.
        self.colour = noise_colour(horizon, noise_beta).to(device) if noise_beta > 0.0 else None
        # The mean of a plan that knows nothing [A]: the middle, or each choice equally likely.
        if action.kind == "discrete":
            neutral = torch.cat([torch.full((size,), 1.0 / size) for size in action.sizes])
        else:
            neutral = torch.zeros(action.dim)
        self.neutral = neutral.to(device)
        self.one_hot = [torch.eye(size, device=device) for size in action.sizes]

    def initial_memory(self, num_envs: int) -> State:
        """Return what is known before an episode's first step: no plan."""
        return {"mean": self.neutral.repeat(num_envs, self.horizon, 1)}  # [B, H, A]

    # --- shared parts -----------------------------------------------------------------------

    def score(self, world: World, state: State, plans: Tensor, disagreement_bonus: float) -> Scores:
        """Judge plans [B, N, H, A]; a return that is not finite never wins."""
        evaluation = world.evaluate_plans(state, plans, disagreement_bonus > 0.0)
        if self.risk is None:
            returns = evaluation.returns.mean(-1)  # [B, N]
        else:
            returns = evaluation.returns.quantile(self.risk, dim=-1)
        score = returns
        if evaluation.disagreement is not None:
            score = returns + disagreement_bonus * evaluation.disagreement
        finite = score.isfinite() & evaluation.returns.isfinite().all(-1)
        lost = torch.full_like(score, float("-inf"))
        return Scores(torch.where(finite, score, lost), returns, (~finite).sum())

    def sample_noise(self, num_envs: int, num_plans: int, generator: torch.Generator) -> Tensor:
        """Draw the random numbers behind N plans: [B, N, H, A], coloured along the horizon.

        They are standard normal for continuous actions and, for discrete ones, standard Gumbel.
        """
        discrete = self.action.kind == "discrete"
        shape = (num_envs, num_plans, self.action.dim, self.horizon)
        white = torch.empty(shape, device=generator.device)
        if discrete and self.colour is None:
            share = white.uniform_(generator=generator).to(self.device)
        else:
            noise = white.normal_(generator=generator).to(self.device)  # [B, N, A, H]
            noise = noise if self.colour is None else noise @ self.colour
            if not discrete:
                return noise.mT  # [B, N, H, A]
            share = torch.special.ndtr(noise)  # its place in the distribution
        share = share.clamp_(1e-7, 1.0 - 1e-7)
        return share.log_().neg_().log_().neg_().mT  # the Gumbel numbers at these places

    def sample_around(self, mean: Tensor, spread: Tensor, noise: Tensor) -> Tensor:
        """Turn noise [B, N, H, A] into plans [B, N, H, A] around mean [B, H, A].

        Spread [B, H, A] is a standard deviation or, for discrete actions, the probability that a
        step is drawn uniformly instead of from the mean.
        """
        if self.action.kind == "continuous":
            return (mean[:, None] + spread[:, None] * noise).clamp_(-1.0, 1.0)
        probabilities = (1.0 - spread) * mean + spread * self.neutral  # [B, H, A]
        return self.choose_discrete(probabilities[:, None], noise)

    def choose_discrete(self, probabilities: Tensor, gumbel: Tensor | float) -> Tensor:
        """Map probabilities [..., A] and Gumbel numbers [..., A] to one-hot actions [..., A].

        The largest of log probability + Gumbel number is a sample of the distribution; choices have
        no order, so with coloured numbers none of them is closer to another.
        """
        chosen = []
        scores = torch.split(probabilities.log() + gumbel, list(self.action.sizes), dim=-1)
        for score, one_hot in zip(scores, self.one_hot, strict=True):
            index = score.argmax(-1)
            rows = one_hot.index_select(0, index.flatten())
            chosen.append(rows.view(*index.shape, len(one_hot)))
        return chosen[0] if len(chosen) == 1 else torch.cat(chosen, dim=-1)

    def shifted(self, plan: Tensor) -> Tensor:
        """Move plans [..., H, A] on to the next decision; the last step stands in for the rest."""
        steps = self.replan_every
        return torch.cat([plan[..., steps:, :], *[plan[..., -1:, :]] * steps], dim=-2)

    def nearest_actions(self, mean: Tensor) -> Tensor:
        """Return the legal actions [..., A] nearest to a mean [..., A]."""
        if self.action.kind == "continuous":
            return mean
        return self.choose_discrete(mean, 0.0)


def take_plans(plans: Tensor, index: Tensor) -> Tensor:
    """Gather plans [B, N, H, A] at index [B, K] -> [B, K, H, A]."""
    return plans.gather(1, index[..., None, None].expand(-1, -1, *plans.shape[2:]))
