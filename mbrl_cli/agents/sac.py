"""Soft actor-critic (Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications").

Discrete actions follow Christodoulou 2019: the critics value all choices at once, and expectations
over the policy are sums. All gradients of an update are taken at the same weights, as in the
authors' implementation, so that there is one backward pass and one optimiser step.

Notation: alpha -> temperature, tau -> target_rate, gamma -> discount, H-bar -> target entropy.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.agents.base import Agent, Decision, Policy
from mbrl_cli.agents.gradient_schedule import GradientSchedule
from mbrl_cli.agents.running_means import RunningMeans
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import (
    Activation,
    Batch,
    Count,
    EnvSpec,
    Fraction,
    LearningRate,
    PositiveFloat,
    PositiveFraction,
)

LOG_STD_RANGE = (-20.0, 2.0)
STATISTICS = ("critic_loss", "actor_loss", "temperature", "entropy", "q_real", "q_imagined")


class SAC(Agent):
    """Off-policy actor-critic that maximises return and entropy; needs no model.

    Axes: U updates of a block, n rows of a batch, K choices of a discrete action.
    """

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        hidden: list[Count],
        activation: Activation,
        layer_norm: bool,
        learning_rate: LearningRate,
        batch_size: Count,
        updates_per_step: PositiveFloat,
        discount: Fraction,
        target_rate: LearningRate,
        initial_temperature: PositiveFloat,
        target_entropy: float | Literal["auto"],
        log_every: Count,
        actor_ema_rate: PositiveFraction,
    ) -> None:
        action = spec.action
        self.discrete = action.kind == "discrete"
        if len(action.sizes) > 1:
            raise UserError(
                f"agent: SAC takes continuous actions or one discrete choice; {spec.id} has "
                f"{len(action.sizes)} choices at once: use agent=mpc"
            )
        if spec.obs_shape is not None:
            raise UserError(
                "env.obs=pixels: SAC reads vectors; use agent=dreamer, or env.obs=vector"
            )
        self.action_dim = action.dim
        self.device = device
        self.generator = generator
        self.batch_size = batch_size
        self.discount = discount
        self.target_rate = target_rate
        self.actor_ema_rate = actor_ema_rate
        if target_entropy == "auto":  # a third of what there is to choose, or the authors' -A
            target_entropy = math.log(action.dim) / 3.0 if self.discrete else -float(action.dim)
        self.target_entropy = target_entropy
        outputs, inputs = 2 * action.dim, spec.obs_dim + action.dim
        if self.discrete:
            outputs, inputs = action.dim, spec.obs_dim
        self.actor = StackedMLP(
            1, spec.obs_dim, outputs, hidden, activation, False, generator, device
        )
        # The actor of the last updates on average: what acts where nothing is explored.
        self.averaged = [parameter.clone() for parameter in self.actor.detached()]
        values = action.dim if self.discrete else 1
        self.critics = StackedMLP(
            2, inputs, values, hidden, activation, layer_norm, generator, device
        )
        self.targets = [parameter.clone() for parameter in self.critics.detached()]
        self.log_temperature = torch.tensor(
            math.log(initial_temperature), device=device, requires_grad=True
        )
        self.learning_rate = learning_rate
        self.optimiser = AdamW(
            [*self.actor.parameters, *self.critics.parameters, self.log_temperature]
        )
        self.schedule = GradientSchedule(updates_per_step)
        self.means = RunningMeans(STATISTICS, log_every, device)
        self.real_rows = 0  # real rows of the batches in the means

    # --- acting -------------------------------------------------------------------------------

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> _SACPolicy:
        """Return a policy that samples where it explores and takes the likeliest action else."""
        return _SACPolicy(self, explore, generator)

    def act(self, obs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Map obs [n, O] to actions [n, A], sampled with `generator`.

        Without one the averaged actor takes its likeliest action.
        """
        parameters = self.averaged if generator is None else self.actor.parameters
        out = self.actor(obs[None], parameters)[0]
        if self.discrete:
            if generator is not None:  # the largest of logit + Gumbel noise is a sample
                uniform = torch.rand(out.shape, generator=generator, device=generator.device)
                uniform = uniform.to(self.device)
                out = out - (-uniform.clamp_min(1e-20).log()).log()
            return F.one_hot(out.argmax(-1), self.action_dim).float()
        mean, log_std = out.chunk(2, -1)
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator, device=generator.device)
            noise = noise.to(self.device)
            mean = torch.addcmul(mean, log_std.clamp(*LOG_STD_RANGE).exp(), noise)
        return mean.tanh()

    def state_value(self, obs: Tensor) -> Tensor:
        """Return the lower critic's value [n] of what the policy would most likely do at obs."""
        critics = self.critics.detached()
        if self.discrete:
            chance = F.softmax(self.actor(obs[None], self.averaged)[0], dim=-1)  # [n, K]
            return (chance * self.critics(obs.expand(2, -1, -1), critics).amin(0)).sum(-1)
        return self.values(obs, self.act(obs, None), critics).amin(0)

    # --- learning -----------------------------------------------------------------------------

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Take the gradient steps that are due on batches of the replay."""
        if not len(replay):
            return {}
        updates = self.schedule.due(env_step)
        if updates:
            self.learn(self.real_batches(replay, updates, self.batch_size), self.batch_size)
        return self.metrics(env_step)

    def real_batches(self, replay: ReplayBuffer, updates: int, size: int) -> Batch:
        """Draw `updates` batches of `size` rows: fields [U, size, ...]."""
        rows = torch.randint(len(replay), (updates, size), generator=self.generator)
        return replay.batch(rows.numpy(), self.device)

    def learn(self, batches: Batch, num_real: int) -> None:
        """Take one gradient step for each of the batches [U, n, ...].

        Nothing in it waits for the device. The first `num_real` rows of each batch are real; this
        matters for the statistics only.
        """
        updates, rows = batches.reward.shape
        noise = torch.empty(updates, 2, 0, device=self.device)
        if not self.discrete:
            shape = (updates, 2, rows, self.action_dim)
            noise = torch.randn(shape, generator=self.generator).to(self.device)
        for index in range(updates):
            batch = Batch(*(field[index] for field in batches))
            self._gradient_step(batch, noise[index], num_real)
        self.schedule.num_updates += updates

    def _gradient_step(self, batch: Batch, noise: Tensor, num_real: int) -> None:
        frozen = self.critics.detached()
        with torch.no_grad():
            temperature = self.log_temperature.exp()
            wanted = self.wanted_values(batch, temperature, noise[0])
        values = self.values(batch.obs, batch.action, self.critics.parameters)  # [2, n]
        critic_loss = 0.5 * (values - wanted).square().mean(1).sum()
        value, entropy = self.soft_value(batch.obs, frozen, noise[1])
        actor_loss = -torch.add(value, temperature * entropy).mean()
        mean_entropy = entropy.detach().mean()
        temperature_loss = self.log_temperature * (mean_entropy - self.target_entropy)
        loss = critic_loss + actor_loss + temperature_loss
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(gradients, self.learning_rate)
        torch._foreach_lerp_(self.targets, frozen, self.target_rate)
        torch._foreach_lerp_(self.averaged, self.actor.detached(), self.actor_ema_rate)
        with torch.no_grad():
            real, imagined = values[0, :num_real].sum(), values[0, num_real:].sum()
            losses = (critic_loss, actor_loss, temperature, mean_entropy, real, imagined)
            self.means.add(torch.stack([loss.detach() for loss in losses]))
        self.real_rows += num_real

    def wanted_values(self, batch: Batch, temperature: Tensor, noise: Tensor) -> Tensor:
        """Return the targets [n] of the critics: a time limit is no end, its state is valued."""
        value, entropy = self.soft_value(batch.next_obs, self.targets, noise)
        goes_on = self.discount * (1.0 - batch.terminated)
        return torch.addcmul(batch.reward, goes_on, value + temperature * entropy)

    def values(self, obs: Tensor, action: Tensor, critics: Sequence[Tensor]) -> Tensor:
        """Return what both critics [2, n] say of obs [n, O] and action [n, A]."""
        if self.discrete:
            return (self.critics(obs.expand(2, -1, -1), critics) * action).sum(-1)
        both = torch.cat([obs, action], dim=-1).expand(2, -1, -1)  # [2, n, O + A]
        return self.critics(both, critics)[..., 0]

    def soft_value(
        self, obs: Tensor, critics: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the lower critic's value [n] of the policy at obs [n, O], and its entropy [n].

        For discrete actions both are exact expectations; for continuous ones they are those of one
        action, drawn with the normal numbers `noise` [n, A].
        """
        out = self.actor(obs[None])[0]
        if self.discrete:
            log_chance = F.log_softmax(out, dim=-1)  # [n, K]
            chance = log_chance.exp()
            value = self.critics(obs.expand(2, -1, -1), critics).amin(0)  # [n, K]
            return (chance * value).sum(-1), -(chance * log_chance).sum(-1)
        action, log_density = squashed_gaussian(out, noise)
        return self.values(obs, action, critics).amin(0), -log_density

    # --- logging and saving -------------------------------------------------------------------

    def metrics(self, env_step: int) -> dict[str, float]:
        """Return means over the updates since the last log by tag, if a log is due."""
        if not self.means.due(env_step):
            return {}
        updates, real = self.means.count, self.real_rows
        rows = updates * self.batch_size
        counts = {"q_real": real, "q_imagined": rows - real}  # the others: one for each update
        sums = self.means.take_sums(env_step)
        self.real_rows = 0
        metrics = {
            f"agent/{name}": total / counts.get(name, updates)
            for name, total in sums.items()
            if counts.get(name, updates)
        }
        metrics["agent/imagined_share"] = (rows - real) / rows
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimiser, random numbers and counters."""
        state = {
            "actor": self.actor.detached(),
            "averaged": self.averaged,
            "critics": self.critics.detached(),
            "targets": self.targets,
            "log_temperature": self.log_temperature.detach(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "means": self.means.state_dict(),
            "schedule": self.schedule.state_dict(),
            "real_rows": self.real_rows,
        }
        return copy.deepcopy(state)  # not the tensors that learning goes on to change

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.actor.load(state["actor"])
        self.critics.load(state["critics"])
        for name in ("targets", "averaged"):
            for own, saved in zip(getattr(self, name), state[name], strict=True):
                own.copy_(saved)
        self.log_temperature.copy_(state["log_temperature"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.means.load_state_dict(state["means"])
        self.schedule.load_state_dict(state["schedule"])
        self.real_rows = state["real_rows"]


def squashed_gaussian(out: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return actions [n, A] in (-1, 1) and their log density [n].

    Args:
        out: mean and log standard deviation before the squashing [n, 2 A].
        noise: normal random numbers [n, A].
    """
    mean, log_std = out.chunk(2, -1)
    log_std = log_std.clamp(*LOG_STD_RANGE)
    raw = torch.addcmul(mean, log_std.exp(), noise)
    # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), which does not overflow (appendix C)
    log_slope = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
    gaussian = 0.5 * noise.square() + 0.5 * math.log(2.0 * math.pi)
    return raw.tanh(), -(gaussian + log_std + log_slope).sum(-1)


class _SACPolicy(Policy):
    def __init__(self, agent: SAC, explore: bool, generator: torch.Generator) -> None:
        self.agent = agent
        self.generator = generator if explore else None

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Return actions for obs [B, O]."""
        action = self.agent.act(torch.from_numpy(obs).to(self.agent.device), self.generator)
        return Decision(action.cpu().numpy())
