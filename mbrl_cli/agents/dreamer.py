"""Dreamer (Hafner et al. 2023, DreamerV3): learn a world model, and a policy in imagination."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch

from mbrl_cli.agents.actor_critic import STATISTICS, ActorCritic
from mbrl_cli.agents.base import Decision
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.models.open_loop import film_open_loop
from mbrl_cli.models.rssm import LOSSES, RSSM, features
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ArgumentsOf, Count, EnvSpec, PositiveFloat


class Dreamer:
    """Each gradient step: the model on real sequences, then actor and critic on imagined ones."""

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        replay_ratio: PositiveFloat,
        pretrain_steps: Count,
        log_every: Count,
        actor_critic: Annotated[dict[str, Any], ArgumentsOf(ActorCritic)],
    ) -> None:
        if not isinstance(model, RSSM):
            raise UserError(
                f"model: agent=dreamer learns in a latent space, {type(model).__name__} has none; "
                "use model=rssm or model=latent"
            )
        self.spec = spec
        self.model = model
        self.generator = generator
        self.replay_ratio = replay_ratio
        self.pretrain_steps = pretrain_steps
        self.log_every = log_every
        self.learner = ActorCritic(model, device, generator, **actor_critic)
        self.first_step: int | None = None  # environment step of the first update
        self.num_updates = 0
        self.last_log = 0
        self._start_statistics()

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> _DreamerPolicy:
        """Return a policy that samples where it explores and takes the likeliest action else."""
        return _DreamerPolicy(self, len(envs), generator if explore else None)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Take the gradient steps that are due."""
        if self.first_step is None:
            self.first_step = env_step
        elapsed = env_step - self.first_step + 1
        due = self.pretrain_steps + math.floor(elapsed * self.replay_ratio) - self.num_updates
        for _ in range(due):
            self.learn(replay)
        return self._metrics(replay, env_step)

    def learn(self, replay: ReplayBuffer) -> None:
        """Take one gradient step of everything; nothing in it waits for the device."""
        data = self.model.sequences(replay, self.generator)
        learned = self.model.learn(data, self.generator)
        deter, stoch = learned.deter.flatten(0, 1), learned.stoch.flatten(0, 1)
        improved = self.learner.learn(deter, stoch, 1.0 - data.terminated.flatten())
        self._statistics += torch.cat([learned.losses, improved])
        self._counted += 1
        self.num_updates += 1

    def film(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return what the model imagines beside what came; see `film_open_loop`."""
        return film_open_loop(self.model, replay, generator)

    # --- logging and saving -------------------------------------------------------------------

    def _metrics(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Return means over the updates of the last `log_every` steps by tag; else nothing."""
        if env_step - self.last_log < self.log_every or not self._counted:
            return {}
        self.last_log = env_step
        means = self._statistics / self._counted
        self._start_statistics()
        losses, improved = means[: len(LOSSES)], means[len(LOSSES) :].tolist()
        named = self.model.named(losses, replay, self.generator)
        metrics = {f"model/{name}": value for name, value in named.items()}
        return metrics | {
            f"agent/{name}": value for name, value in zip(STATISTICS, improved, strict=True)
        }

    def _start_statistics(self) -> None:
        size = len(LOSSES) + len(STATISTICS)
        self._statistics = torch.zeros(size, device=self.model.device)  # sums over updates
        self._counted = 0

    def state_dict(self) -> dict[str, Any]:
        """Return model, actor, critics, optimisers, random numbers and counters."""
        state = {
            "model": self.model.state_dict(),
            "learner": self.learner.state_dict(),
            "generator": self.generator.get_state(),
            "statistics": self._statistics,
            "counters": [getattr(self, name) for name in self._COUNTERS],
        }
        return copy.deepcopy(state)  # not the tensors that learning goes on to change

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.learner.load_state_dict(state["learner"])
        self.generator.set_state(state["generator"])
        self._statistics.copy_(state["statistics"])
        for name, value in zip(self._COUNTERS, state["counters"], strict=True):
            setattr(self, name, value)

    _COUNTERS = ("first_step", "num_updates", "last_log", "_counted")


class _DreamerPolicy:
    prediction_horizon = 0
    discount = 1.0

    def __init__(self, agent: Dreamer, num_envs: int, generator: torch.Generator | None) -> None:
        self.agent = agent
        self.num_envs = num_envs
        self.generator = generator
        self.reset()

    def reset(self) -> None:
        """Start episodes in all environments: nothing was seen or done."""
        model = self.agent.model
        self.state = model.initial(self.num_envs)
        self.action = torch.zeros(self.num_envs, self.agent.spec.action.dim, device=model.device)

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Decide for obs [B, O]."""
        self.state = self.agent.model.observe(self.state, self.action, torch.from_numpy(obs))
        action = self.agent.learner.act(features(self.state), self.generator)
        self.action = action.clamp(-1.0, 1.0)
        return Decision(self.action.cpu().numpy())

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these environments only."""
        index = torch.from_numpy(rows).to(self.action.device)
        self.state = {key: value[index] for key, value in self.state.items()}
        self.action = self.action[index]

    def metrics(self) -> dict[str, float]:
        """Count nothing."""
        return {}
