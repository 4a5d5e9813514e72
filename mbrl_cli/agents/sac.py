"""Soft actor-critic (Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications").

For a discrete action it follows Christodoulou 2019: the critics value all choices at once, and
expectations over the policy are sums. All gradients of an update are taken at the same weights, as
in the authors' implementation.

Observations and rewards are in units that are measured in the replay, so that the units of the task
do not matter. The losses that are logged are in these units; values and the temperature are in the
environment's.

The class implements the whole contract of agents, so the file exceeds 300 lines; losses, critics,
distributions and scales have files of their own.

Notation: alpha -> temperature, tau -> target_rate, gamma -> discount, H-bar -> target_entropy.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.agents.assessed_weights import AssessedWeights
from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.categorical import Categorical
from mbrl_cli.agents.gradient_schedule import GradientSchedule
from mbrl_cli.agents.network_shape import NetworkShape
from mbrl_cli.agents.sac_checks import check_spec
from mbrl_cli.agents.sac_losses import actor_loss, critic_loss, td_targets, temperature_loss
from mbrl_cli.agents.sac_metrics import SACMetrics
from mbrl_cli.agents.sac_policy import SACPolicy
from mbrl_cli.agents.squashed_gaussian import SquashedGaussian
from mbrl_cli.agents.td_batch import TDBatch, n_step_batch
from mbrl_cli.agents.twin_critics import TwinCritics
from mbrl_cli.divergence import all_finite
from mbrl_cli.envs.env import Env
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.mixed_precision import Precision
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.replay_normalizer import ReplayNormalizer
from mbrl_cli.replay.reward_scale import RewardScale
from mbrl_cli.types import (
    Activation,
    Count,
    CountOrZero,
    EnvSpec,
    Fraction,
    LearningRate,
    PositiveFloat,
    PositiveFraction,
)


class SAC(Agent):
    """Off-policy actor-critic that maximises return and entropy; needs no model.

    Axes: U gradient steps, n rows of a batch, O obs_dim, A action dim (discrete: number of
    choices).

    Args:
        spec: the environment.
        device: where networks live.
        generator: source of the initial weights and of all random numbers in training.
        network: of actor and critics; see `NetworkShape`.
        hidden: widths of the hidden layers or residual blocks.
        activation: of the hidden layers.
        layer_norm: whether the hidden layers of MLP critics are normalised.
        precision: of the matrix products of hidden layers.
        learning_rate: of actor, critics and temperature.
        batch_size: transitions per gradient step.
        updates_per_step: gradient steps per environment step.
        policy_delay: gradient steps of the critics for each one of actor and temperature.
        discount: per environment step.
        td_steps: rewards in a target of the critics, before the value; imagined data have one.
        target_rate: update rate of the target critics, an exponential moving average.
        initial_temperature: weight of the entropy at the start, in typical rewards; see
            `RewardScale`.
        target_entropy: in nats; "auto": -A, for a discrete action log(A) / 3.
        actor_ema_rate: update rate of the exponential moving average of the actor that acts in
            evaluations; 1: the actor itself.
        assess_rounds: rounds of training episodes in which a copy of the averaged actor must be as
            good as in the best one before it acts in evaluations, see `AssessedWeights`; 0: the
            average of the moment acts. Where a planner acts there are no copies.
        log_every: environment steps between two rows of metrics.

    Raises:
        UserError: if observations are images, or an action has several discrete parts.
    """

    divergence_advice = "lower agent.learning_rate"

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        network: Literal["mlp", "residual"] = "mlp",
        hidden: Sequence[Count] = (256, 256),
        activation: Activation = "relu",
        layer_norm: bool = False,
        precision: Precision = "float32",
        learning_rate: LearningRate = 3e-4,
        batch_size: Count = 256,
        updates_per_step: PositiveFloat = 1.0,
        policy_delay: Count = 1,
        discount: Fraction = 0.99,
        td_steps: Count = 1,
        target_rate: LearningRate = 5e-3,
        initial_temperature: PositiveFloat = 1.0,
        target_entropy: float | Literal["auto"] = "auto",
        actor_ema_rate: PositiveFraction = 1.0,
        assess_rounds: CountOrZero = 0,
        log_every: Count = 100,
    ) -> None:
        check_spec(spec)
        self.spec = spec
        action = spec.action
        self.device = device
        self.generator = generator
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.policy_delay = policy_delay
        self.discount = discount
        self.td_steps = td_steps
        self.actor_ema_rate = actor_ema_rate
        self.distribution: SquashedGaussian | Categorical
        if action.kind == "discrete":
            self.distribution = Categorical(action.dim)
            automatic = math.log(action.dim) / 3.0
        else:
            self.distribution = SquashedGaussian(action.dim)
            automatic = -float(action.dim)  # Haarnoja et al. 2018, appendix D
        self.target_entropy = automatic if target_entropy == "auto" else target_entropy
        shape = NetworkShape(network, hidden, activation, precision=precision)
        self.actor = shape.build(1, spec.obs_dim, self.distribution.num_outputs, generator, device)
        self.ema_actor = [parameter.clone() for parameter in self.actor.detached()]
        of_critics = replace(shape, layer_norm=layer_norm)
        self.critics = TwinCritics(spec, of_critics, target_rate, generator, device)
        self.log_temperature = torch.tensor(
            math.log(initial_temperature), device=device, requires_grad=True
        )
        self.actor_optimiser = AdamW([*self.actor.parameters, self.log_temperature])
        self.critic_optimiser = AdamW(self.critics.network.parameters)
        self.normalizer = ReplayNormalizer(spec.obs_dim, device)
        self.reward_scale = RewardScale(device)
        # A copy has the scale for which its weights were learned.
        self.assessed = AssessedWeights([*self.ema_actor, *self.normalizer.scales], assess_rounds)
        self.schedule = GradientSchedule(updates_per_step)
        self.metrics = SACMetrics(log_every, device)

    # --- acting -------------------------------------------------------------------------------

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> SACPolicy:
        """Return a policy that samples actions if it explores, and else takes the mode."""
        return SACPolicy(self.act, self.assessed, explore, generator, self.device)

    def act(self, obs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Map obs [n, O] to actions [n, A].

        With a generator they are samples of the actor; without one, the mode of the EMA actor.
        """
        obs = self.normalizer(obs)
        if generator is None:
            return self.distribution.mode(self.actor(obs[None], self.ema_actor)[0])
        return self.distribution.sample(self.actor(obs[None])[0], generator)

    def state_value(self, obs: Tensor) -> Tensor:
        """Return the lower critic's value [n] of the EMA actor's policy at obs [n, O].

        For a discrete action it is the expectation over the choices; for continuous actions it is
        the value of the mode. Its unit is that of the environment's rewards.
        """
        weights = self.critics.network.detached()
        obs = self.normalizer(obs)
        out = self.actor(obs[None], self.ema_actor)[0]
        if isinstance(self.distribution, Categorical):
            probs = F.softmax(out, dim=-1)  # [n, A]
            value = (probs * self.critics.min_q_of_choices(obs, weights)).sum(-1)
        else:
            value = self.critics.min_q(obs, self.distribution.mode(out), weights)
        return self.reward_scale.restore(value)

    @torch.no_grad()
    def refit_scales(self, replay: ReplayBuffer) -> None:
        """Fit the scales of observations and rewards again if they are outdated.

        Values and temperature keep their meaning in units of the environment.
        """
        self.normalizer.refit(replay)
        factor = self.reward_scale.refit(replay)
        if factor != 1.0:
            self.critics.rescale(factor)
            self.log_temperature += math.log(factor)

    def is_finite(self) -> bool:
        """Return whether all weights and the temperature are finite."""
        return all_finite(self.actor_optimiser.parameters + self.critic_optimiser.parameters)

    # --- learning -----------------------------------------------------------------------------

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Take the gradient steps that are due on batches of the replay."""
        if not len(replay):
            return {}
        self.refit_scales(replay)
        updates = self.schedule.due(env_step)
        if updates:
            self.learn(self.sample_batches(replay, updates, self.batch_size), self.batch_size)
        self.assessed.update(replay)
        return self.take_metrics(env_step)

    def take_metrics(self, env_step: int) -> dict[str, float]:
        """Return the metrics by tag if they are due, else none."""
        metrics = self.metrics.take(env_step)
        return metrics | self.assessed.metrics() if metrics else {}

    def sample_batches(self, replay: ReplayBuffer, updates: int, size: int) -> TDBatch:
        """Return `updates` batches of `size` rows of the replay: fields [U, size, ...]."""
        rows = torch.randint(len(replay), (updates, size), generator=self.generator).numpy()
        return n_step_batch(replay, rows, self.td_steps, self.discount, self.device)

    def learn(self, batches: TDBatch, num_real: int) -> None:
        """Take one gradient step on each of the batches [U, n, ...].

        The first `num_real` rows of each batch are real transitions, the others are imagined. Only
        the metrics distinguish them. The call does not wait for the device.
        """
        updates, rows = batches.reward.shape
        shape = (updates, 2, rows, self.distribution.noise_dim)
        noise = torch.randn(shape, generator=self.generator).to(self.device)
        scaled = batches._replace(
            obs=self.normalizer(batches.obs),
            reward=self.reward_scale.normalize(batches.reward),
            next_obs=self.normalizer(batches.next_obs),
        )
        for index in range(updates):
            batch = TDBatch(*(field[index] for field in scaled))
            self._gradient_step(batch, noise[index], num_real)
            self.schedule.num_updates += 1

    def _gradient_step(self, batch: TDBatch, noise: Tensor, num_real: int) -> None:
        """Take a gradient step on batch [n, ...] with normal random numbers [2, n, A].

        Observations and rewards are in the units of the networks.
        """
        next_action_noise, action_noise = noise
        with torch.no_grad():
            temperature = self.log_temperature.exp()
            targets = self.td_targets(batch, temperature, next_action_noise)
        q = self.critics.q(batch.obs, batch.action, self.critics.network.parameters)  # [2, n]
        loss = critic_loss(q, targets)
        gradients = torch.autograd.grad(loss, self.critic_optimiser.parameters)
        self.metrics.add_critics(loss.detach(), self.reward_scale.restore(q[0].detach()), num_real)
        if self.schedule.num_updates % self.policy_delay == 0:
            self._actor_step(batch.obs, action_noise, temperature)
        self.critic_optimiser.step(gradients, self.learning_rate)
        self.critics.update_targets()

    def _actor_step(self, obs: Tensor, noise: Tensor, temperature: Tensor) -> None:
        """Take a gradient step of actor and temperature at obs [n, O] with noise [n, A]."""
        # Critics without gradient: the actor's loss does not train them.
        expected_q, entropy = self.expected_q_and_entropy(
            obs, self.critics.network.detached(), noise
        )
        of_actor = actor_loss(expected_q, entropy, temperature)
        mean_entropy = entropy.detach().mean()
        of_temperature = temperature_loss(self.log_temperature, mean_entropy, self.target_entropy)
        gradients = torch.autograd.grad(of_actor + of_temperature, self.actor_optimiser.parameters)
        self.actor_optimiser.step(gradients, self.learning_rate)
        torch._foreach_lerp_(self.ema_actor, self.actor.detached(), self.actor_ema_rate)
        self.metrics.add_actor(
            of_actor.detach(), self.reward_scale.restore(temperature), mean_entropy
        )

    def td_targets(self, batch: TDBatch, temperature: Tensor, noise: Tensor) -> Tensor:
        """Return the critics' TD targets [n]; see `sac_losses.td_targets`."""
        next_q, next_entropy = self.expected_q_and_entropy(
            batch.next_obs, self.critics.targets, noise
        )
        return td_targets(batch.reward, batch.discount, next_q, next_entropy, temperature)

    def expected_q_and_entropy(
        self, obs: Tensor, critic_weights: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the lower critic's expected value [n] under the policy, and its entropy [n].

        For a discrete action both are exact. For continuous actions both are estimated from one
        action for each of obs [n, O], sampled with the normal random numbers `noise` [n, A].
        """
        out = self.actor(obs[None])[0]
        if isinstance(self.distribution, Categorical):
            q = self.critics.min_q_of_choices(obs, critic_weights)  # [n, A]
            return self.distribution.expectation_and_entropy(out, q)
        action, log_density = self.distribution.sample_with_log_density(out, noise)
        return self.critics.min_q(obs, action, critic_weights), -log_density

    # --- saving -------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimiser, scales, random numbers and counters."""
        state = {
            "actor": self.actor.detached(),
            "ema_actor": self.ema_actor,
            "critics": self.critics.network.detached(),
            "targets": self.critics.targets,
            "log_temperature": self.log_temperature.detach(),
            "actor_optimiser": self.actor_optimiser.state_dict(),
            "critic_optimiser": self.critic_optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "metrics": self.metrics.state_dict(),
            "schedule": self.schedule.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "reward_scale": self.reward_scale.state_dict(),
        }
        if self.assessed.rounds:
            state["assessed"] = self.assessed.state_dict()
        return copy.deepcopy(state)  # training changes these tensors in place

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.actor.load(state["actor"])
        torch._foreach_copy_(self.ema_actor, list(state["ema_actor"]))
        self.critics.network.load(state["critics"])
        torch._foreach_copy_(self.critics.targets, list(state["targets"]))
        self.log_temperature.copy_(state["log_temperature"])
        self.actor_optimiser.load_state_dict(state["actor_optimiser"])
        self.critic_optimiser.load_state_dict(state["critic_optimiser"])
        self.generator.set_state(state["generator"])
        self.metrics.load_state_dict(state["metrics"])
        self.schedule.load_state_dict(state["schedule"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.reward_scale.load_state_dict(state["reward_scale"])
        if self.assessed.rounds:
            self.assessed.load_state_dict(state["assessed"])
