"""Base class of planners over action sequences: scoring and sampling of plans."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.planners.base import Planner
from mbrl_cli.planners.noise import coloured_noise_matrix
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, State


class Scores(NamedTuple):
    """Scores of N plans in each of B environments."""

    score: Tensor  # [B, N] what is maximised: return + disagreement bonus; -inf if not finite
    returns: Tensor  # [B, N] predicted return, without the bonus
    nonfinite: Tensor  # [] number of plans whose return is not finite


class TrajectoryPlanner(Planner):
    """Base class of planners that sample action sequences and compare their predicted returns.

    Continuous and discrete actions use the same code. A distribution over plans has one mean
    [B, H, A], which holds probabilities for discrete actions.

    Axes: B environments, N plans, H horizon, A action dim, P particles.

    Args:
        action: how actions are encoded.
        device: where plans live; the model's device.
        horizon: imagined steps per plan.
        population: plans sampled at a time.
        noise_beta: spectral exponent of the noise along the horizon: 0 white, 1 pink, 2 red. The
            larger it is, the longer a plan holds similar actions.
        risk: None scores a plan by the mean of its return over particles; a number in [0, 1] by
            that quantile, so values below 0.5 are risk-averse.
        replan_every: environment steps from one decision to the next; the plan's own actions are
            executed in between.
        max_plan_ms: time budget of a decision in milliseconds per environment; None: no limit.
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
        # Turns white noise into coloured noise [H, H]; None: the noise is white.
        self.noise_matrix = (
            coloured_noise_matrix(horizon, noise_beta).to(device) if noise_beta > 0.0 else None
        )
        # Neutral mean of an action [A]: 0, or uniform probabilities.
        if action.kind == "discrete":
            neutral = torch.cat([torch.full((size,), 1.0 / size) for size in action.sizes])
        else:
            neutral = torch.zeros(action.dim)
        self.neutral = neutral.to(device)
        self.one_hot = [torch.eye(size, device=device) for size in action.sizes]

    def initial_memory(self, num_envs: int) -> State:
        """Return a neutral mean plan."""
        return {"mean": self.neutral.repeat(num_envs, self.horizon, 1)}  # [B, H, A]

    def score(self, world: World, state: State, plans: Tensor, disagreement_bonus: float) -> Scores:
        """Score plans [B, N, H, A]; a plan whose return is not finite gets the score -inf."""
        evaluation = world.evaluate_plans(state, plans, disagreement_bonus > 0.0)
        if self.risk is None:
            returns = evaluation.returns.mean(-1)  # [B, N]
        else:
            returns = evaluation.returns.quantile(self.risk, dim=-1)
        score = returns
        if evaluation.disagreement is not None:
            score = returns + disagreement_bonus * evaluation.disagreement
        finite = score.isfinite() & evaluation.returns.isfinite().all(-1)
        worst = torch.full_like(score, float("-inf"))
        return Scores(torch.where(finite, score, worst), returns, (~finite).sum())

    def sample_noise(self, num_envs: int, num_plans: int, generator: torch.Generator) -> Tensor:
        """Draw noise [B, N, H, A] for N plans, coloured along the horizon.

        Its distribution is standard normal for continuous actions and standard Gumbel for discrete
        ones.
        """
        discrete = self.action.kind == "discrete"
        shape = (num_envs, num_plans, self.action.dim, self.horizon)
        white = torch.empty(shape, device=generator.device)
        if discrete and self.noise_matrix is None:
            uniform = white.uniform_(generator=generator).to(self.device)
        else:
            noise = white.normal_(generator=generator).to(self.device)  # [B, N, A, H]
            noise = noise if self.noise_matrix is None else noise @ self.noise_matrix
            if not discrete:
                return noise.mT  # [B, N, H, A]
            uniform = torch.special.ndtr(noise)  # normal distribution function: normal -> uniform
        uniform = uniform.clamp_(1e-7, 1.0 - 1e-7)
        return uniform.log_().neg_().log_().neg_().mT  # -log(-log u): uniform -> Gumbel

    def sample_around(self, mean: Tensor, spread: Tensor, noise: Tensor) -> Tensor:
        """Turn noise [B, N, H, A] into plans [B, N, H, A] around mean [B, H, A].

        The spread [B, H, A] is a standard deviation or, for discrete actions, the probability that
        an action is drawn uniformly instead of from the mean.
        """
        if self.action.kind == "continuous":
            return (mean[:, None] + spread[:, None] * noise).clamp_(-1.0, 1.0)
        probabilities = (1.0 - spread) * mean + spread * self.neutral  # [B, H, A]
        return self.choose_discrete(probabilities[:, None], noise)

    def choose_discrete(self, probabilities: Tensor, gumbel: Tensor | float) -> Tensor:
        """Sample one-hot actions [..., A] with probabilities [..., A] and Gumbel noise [..., A].

        Gumbel-max trick: the argmax of log probability + noise is a sample of the distribution.
        Unlike with inverse transform sampling, coloured noise favours no order of the choices.
        """
        chosen = []
        scores = torch.split(probabilities.log() + gumbel, list(self.action.sizes), dim=-1)
        for score, one_hot in zip(scores, self.one_hot, strict=True):
            index = score.argmax(-1)
            rows = one_hot.index_select(0, index.flatten())
            chosen.append(rows.view(*index.shape, len(one_hot)))
        return chosen[0] if len(chosen) == 1 else torch.cat(chosen, dim=-1)

    def shifted(self, plan: Tensor) -> Tensor:
        """Shift plans [..., H, A] by `replan_every` steps; the last step is repeated."""
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
