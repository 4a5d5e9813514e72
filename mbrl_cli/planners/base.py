"""The contract of planners over action sequences, and the sampling that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, State


class Plan(NamedTuple):
    """A decision for B environments."""

    action: Tensor  # [B, A] to execute now
    plan: Tensor  # [B, H, A] the plan that it starts
    predicted_return: Tensor  # [B] what the model expects of that plan, without any bonus
    memory: State  # carried to the next step: tensors with leading axis B
    nonfinite: Tensor  # [] number of imagined plans whose return was not finite


class Scores(NamedTuple):
    """Plans judged: what is maximised, and the part of it that is return."""

    score: Tensor  # [B, N] -inf where the return was not finite
    returns: Tensor  # [B, N] the same without the bonus
    nonfinite: Tensor  # [] how many were not finite


class TrajectoryPlanner(ABC):
    """Choose among N sampled action sequences by what they come to in the world.

    Discrete actions are one-hot blocks, continuous ones lie in [-1, 1]; both are planned alike:
    a distribution over plans is one mean [B, H, A] (for discrete actions: probabilities).

    Args:
        action: how actions are encoded.
        device: where plans live; the model's device.
        horizon: imagined steps per plan.
        population: plans sampled at a time.
        persistence: chance that a step reuses the random number of the step before it; then
            plans push the same way for 1 / (1 - persistence) steps on average.
        risk: None judges a plan by its mean over particles, a number in (0, 1] by that quantile
            (below 0.5 is cautious).
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: int,
        population: int,
        persistence: float,
        risk: float | None,
    ) -> None:
        self.action = action
        self.device = device
        self.horizon = horizon
        self.population = population
        self.persistence = persistence
        self.risk = risk
        # The mean of a plan that knows nothing [A]: the middle, or each choice equally likely.
        if action.kind == "discrete":
            neutral = torch.cat([torch.full((size,), 1.0 / size) for size in action.sizes])
        else:
            neutral = torch.zeros(action.dim)
        self.neutral = neutral.to(device)
        self.one_hot = [torch.eye(size, device=device) for size in action.sizes]

    def initial_memory(self, num_envs: int) -> State:
        """Return what is known before an episode's first step: no plan."""
        mean = self.neutral.repeat(num_envs, self.horizon, 1)  # [B, H, A]
        # `best` is only offered as a candidate again; before there is one it is any legal plan.
        best = self._nearest_actions(mean)
        return {"mean": mean, "best": best}

    @abstractmethod
    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for the B environments in `state`.

        Args:
            world: functions of the model.
            state: observed states, leading axis B.
            memory: what the last step's `Plan.memory` held, or `initial_memory`.
            generator: for the sampled plans.
            disagreement_bonus: reward for each unit of the members' disagreement (exploration).
        """

    # --- shared parts -----------------------------------------------------------------------

    def score(self, world: World, state: State, plans: Tensor, disagreement_bonus: float) -> Scores:
        """Judge plans [B, N, H, A]; a return that is not finite never wins."""
        imagined = world.imagine(state, plans, disagreement_bonus != 0.0)
        if self.risk is None:
            returns = imagined.returns.mean(-1)  # [B, N]
        else:
            returns = imagined.returns.quantile(self.risk, dim=-1)
        score = returns
        if imagined.disagreement is not None:
            score = returns + disagreement_bonus * imagined.disagreement
        finite = score.isfinite() & imagined.returns.isfinite().all(-1)
        lost = torch.full_like(score, float("-inf"))
        return Scores(torch.where(finite, score, lost), returns, (~finite).sum())

    def sample_noise(self, num_envs: int, num_plans: int, generator: torch.Generator) -> Tensor:
        """Draw the random numbers behind N plans: [B, N, H, C].

        C is A standard normal numbers for continuous actions and, for discrete ones, a uniform
        number in [0, 1) for each block. A step keeps the number before it with `persistence`, which
        leaves each step's own distribution as it is.
        """
        discrete = self.action.kind == "discrete"
        columns = len(self.action.sizes) if discrete else self.action.dim
        shape = (num_envs, num_plans, self.horizon, columns)
        draw = torch.rand if discrete else torch.randn
        noise = draw(shape, generator=generator, device=generator.device)
        if self.persistence > 0.0:
            keep = torch.rand(shape[:3], generator=generator, device=generator.device)
            fresh = keep >= self.persistence  # [B, N, H]
            step = torch.arange(self.horizon, device=generator.device).expand(shape[:3])
            source = torch.where(fresh, step, 0).cummax(dim=-1).values  # last fresh step so far
            noise = noise.gather(2, source[..., None].expand(shape))
        return noise.to(self.device)

    def choose_discrete(self, probabilities: Tensor, uniform: Tensor) -> Tensor:
        """Map probabilities [..., A] and uniform numbers [..., C] to one-hot actions [..., A]."""
        chosen = []
        blocks = torch.split(probabilities, list(self.action.sizes), dim=-1)
        for block, one_hot, number in zip(blocks, self.one_hot, uniform.unbind(-1), strict=True):
            above = number[..., None] >= block.cumsum(-1)[..., :-1]  # inverse of the distribution
            index = above.sum(-1)
            rows = one_hot.index_select(0, index.flatten())
            chosen.append(rows.view(*index.shape, len(one_hot)))
        return chosen[0] if len(chosen) == 1 else torch.cat(chosen, dim=-1)

    def shifted(self, plan: Tensor) -> Tensor:
        """Move plans [..., H, A] one step on; the last step stands twice."""
        return torch.cat([plan[..., 1:, :], plan[..., -1:, :]], dim=-2)

    def _nearest_actions(self, mean: Tensor) -> Tensor:
        if self.action.kind == "continuous":
            return mean
        half = torch.full((*mean.shape[:-1], len(self.action.sizes)), 0.5, device=mean.device)
        return self.choose_discrete(mean, half)


def take_plans(plans: Tensor, index: Tensor) -> Tensor:
    """Gather plans [B, N, H, A] at index [B, K] -> [B, K, H, A]."""
    return plans.gather(1, index[..., None, None].expand(-1, -1, *plans.shape[2:]))
