"""Dreamer (Hafner et al. 2023, DreamerV3): learn a policy in the imagination of a world model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, Any, cast

import numpy as np
import torch

from mbrl_cli.agents.actor_critic import STATISTICS, ActorCritic
from mbrl_cli.agents.base import Agent, Decision
from mbrl_cli.agents.gradient_schedule import GradientSchedule
from mbrl_cli.agents.model_policy import ModelPolicy
from mbrl_cli.agents.running_means import RunningMeans
from mbrl_cli.divergence import all_finite
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.models.rssm import RSSM, features
from mbrl_cli.models.rssm_losses import LOSSES
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ArgumentsOf, Count, EnvSpec, PositiveFloat


class Dreamer(Agent):
    """Train a latent world model on real sequences, and an actor-critic on imagined rollouts.

    Every gradient step trains the model first, then actor and critic from its posterior states.
    """

    divergence_advice = (
        "lower model.learning_rate, agent.actor_critic.actor_learning_rate or "
        "agent.actor_critic.critic_learning_rate"
    )

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        replay_ratio: PositiveFloat = 0.5,
        pretrain_steps: Count = 100,
        log_every: Count = 100,
        actor_critic: Annotated[dict[str, Any], ArgumentsOf(ActorCritic)] | None = None,
    ) -> None:
        if not model.is_latent_world_model:
            raise UserError(
                f"model: agent=dreamer learns in a latent space, {type(model).__name__} has none; "
                "use model=rssm or model=latent"
            )
        self.model = cast(RSSM, model)
        self.generator = generator
        self.learner = ActorCritic(self.model, device, generator, **(actor_critic or {}))
        self.schedule = GradientSchedule(replay_ratio, pretrain_steps)
        self.means = RunningMeans((*LOSSES, *STATISTICS), log_every, device)

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> _DreamerPolicy:
        """Return a policy that samples actions if `explore`, else takes the most likely ones."""
        return _DreamerPolicy(self, envs, generator if explore else None)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Take the gradient steps that are due."""
        for _ in range(self.schedule.due(env_step)):
            self.learn(replay)
        return self._metrics(replay, env_step)

    def learn(self, replay: ReplayBuffer) -> None:
        """Take one gradient step of model, actor and critic, without waiting for the device."""
        data = self.model.sample_sequences(replay, self.generator)
        result = self.model.learn(data, self.generator)
        deter, stoch = result.deter.flatten(0, 1), result.stoch.flatten(0, 1)  # [T * n, .]
        statistics = self.learner.learn(deter, stoch, 1.0 - data.terminated.flatten())
        self.means.add(torch.cat([result.losses, statistics]))
        self.schedule.num_updates += 1

    def video(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return the model's video; see `Model.video`."""
        return self.model.video(replay, generator)

    def _metrics(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Return means over the updates since the last log by tag, if a log is due."""
        if not self.means.due(env_step):
            return {}
        means = self.means.take(env_step)
        accuracy = self.model.measure_accuracy(replay, self.generator)
        model_metrics = {name: means[name] for name in LOSSES} | accuracy
        metrics = {f"model/{name}": value for name, value in model_metrics.items()}
        return metrics | {f"agent/{name}": means[name] for name in STATISTICS}

    def is_finite(self) -> bool:
        """Return whether the weights of model, actor and critic are finite."""
        learner = self.learner
        optimisers = self.model.optimiser, learner.actor_optimiser, learner.critic_optimiser
        return all_finite(parameter for o in optimisers for parameter in o.parameters)

    def state_dict(self) -> dict[str, Any]:
        """Return model, actor, critics, optimisers, random numbers and counters."""
        state = {
            "model": self.model.state_dict(),
            "learner": self.learner.state_dict(),
            "generator": self.generator.get_state(),
            "means": self.means.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        return copy.deepcopy(state)  # later gradient steps change the tensors in place

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.learner.load_state_dict(state["learner"])
        self.generator.set_state(state["generator"])
        self.means.load_state_dict(state["means"])
        self.schedule.load_state_dict(state["schedule"])


class _DreamerPolicy(ModelPolicy):
    """Act with the actor on posterior states; sample actions if there is a generator."""

    def __init__(
        self, agent: Dreamer, envs: Sequence[Env], generator: torch.Generator | None
    ) -> None:
        super().__init__(agent.model, envs)
        self.learner = agent.learner
        self.generator = generator
        self.reset()

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Return actions for obs [B, O]."""
        self.observe(obs)
        action = self.learner.act(features(self.state), self.generator)
        self.action = action.clamp(-1.0, 1.0)
        return Decision(self.action.cpu().numpy())
