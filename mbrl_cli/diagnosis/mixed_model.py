"""A learned model in which some parts are the truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.types import State, Step

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env

PARTS = ("dynamics", "reward", "termination")


class MixedModel(MarkovModel):
    """Imagine with true dynamics, a true reward or a true termination, and a model for the rest.

    With true dynamics and a learned reward or termination, the learned functions see the true next
    observation, and their predictions are averaged over the model's particles.

    Axes: M rows, P particles, O obs_dim, A action dim.
    """

    is_fitted = True

    def __init__(self, learned: MarkovModel, truth: Truth, true_parts: Collection[str]) -> None:
        """Replace the parts.

        Args:
            learned: the model of the run.
            truth: has what replaces its parts.
            true_parts: some of `PARTS`.

        Raises:
            ValueError: if the truth of a part is not known.
        """
        super().__init__(learned.spec, learned.device)
        self.learned = learned
        self.truth = truth
        self.true_parts = frozenset(true_parts)
        self.has_true_dynamics = "dynamics" in self.true_parts
        self.source: MarkovModel = truth.oracle if self.has_true_dynamics else learned
        self.num_particles = self.source.num_particles
        self.state_source = self.source.state_source
        if self.has_true_dynamics and {"reward", "termination"} <= self.true_parts:
            return
        for part in self.true_parts - {"dynamics"}:
            if getattr(truth, part) is None:
                raise ValueError(f"the true {part} of {learned.spec.id} is not known as a function")

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Return the state after an observation; see `Model.observe`."""
        return self.source.observe(state, action, obs, envs)

    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Return next observation and reward of the model that has the dynamics."""
        return self.source.transition(obs, action, generator, common_noise)

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step; see `Model.step`."""
        step = self.source.step(state, action, generator, common_noise)
        obs, next_obs = state["obs"], step.state["obs"]  # [M, P, O]
        if action.dim() == 2:
            action = action[:, None].expand(-1, obs.shape[1], -1)  # [M, P, A]
        reward, continues = step.reward, step.continues
        if self.has_true_dynamics:
            if not {"reward", "termination"} <= self.true_parts:
                learned = self._learned(obs, action, next_obs, generator, common_noise)
                reward = reward if "reward" in self.true_parts else learned[0]
                continues = continues if "termination" in self.true_parts else learned[1]
            return Step(step.state, reward, continues)
        if "reward" in self.true_parts and self.truth.reward is not None:
            reward = self.truth.reward(obs, action, next_obs)
        if "termination" in self.true_parts and self.truth.termination is not None:
            continues = 1.0 - self.truth.termination(obs, action, next_obs).float()
        return Step(step.state, reward, continues)

    def _learned(
        self,
        obs: Tensor,
        action: Tensor,
        next_obs: Tensor,
        generator: torch.Generator,
        common_noise: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return the run's reward and continue probability [M, P] of true transitions."""
        shape, particles = obs.shape[:2], self.learned.num_particles
        obs, action, next_obs = (
            value.flatten(0, 1)[:, None].expand(-1, particles, -1)  # [M * P, particles, .]
            for value in (obs, action, next_obs)
        )
        reward = torch.zeros(obs.shape[:2], device=self.device)
        if self.spec.known_reward is None:
            _, reward = self.learned.transition(obs, action, generator, common_noise)
        reward, continues = self.learned.reward_and_continues(obs, action, next_obs, reward)
        if continues is None:
            continues = torch.ones_like(reward)
        return reward.mean(1).view(shape), continues.mean(1).view(shape)
