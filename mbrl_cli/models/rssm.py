"""Recurrent state-space model (PlaNet, Hafner et al. 2019; losses and heads of DreamerV3, 2023).

A model of sequences of observations. Its state summarizes the past: rewards, terminations and the
next state are predicted from it without an observation.

Notation: h -> deter, z -> stoch, beta_dyn -> dynamics_scale, beta_rep -> representation_scale.

The class implements the whole contract of models, the imagined rollouts of Dreamer and the gradient
step, so the file exceeds 300 lines. Losses are in rssm_losses, networks in nets.world_model.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.models import rssm_losses
from mbrl_cli.models.base import Model, Trajectories
from mbrl_cli.models.observation_scaling import ObservationScaling
from mbrl_cli.models.open_loop import measure_open_loop
from mbrl_cli.models.open_loop_video import open_loop_video
from mbrl_cli.models.rssm_losses import LOSSES
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.compilation import compile_networks, find_compiler_error
from mbrl_cli.nets.gradient_clipping import clip_gradients
from mbrl_cli.nets.mixed_precision import Precision, set_precision
from mbrl_cli.nets.two_hot import TwoHot
from mbrl_cli.nets.world_model import LatentKind, SizeName, WorldModel
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.reward_scale import MAX_DRIFT_OF_BINS, RewardScale
from mbrl_cli.types import (
    Count,
    CountOrZero,
    EnvSpec,
    Fraction,
    LearningRate,
    NonNegativeFloat,
    PositiveFloat,
    Sequences,
    State,
    Step,
)

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env


class LearnResult(NamedTuple):
    """Posterior states and losses of one gradient step, without gradient."""

    deter: Tensor  # [T, n, D]
    stoch: Tensor  # [T, n, Z]
    losses: Tensor  # [6] the means named in `LOSSES`


class RSSM(Model):
    """Latent dynamics with a recurrent and a stochastic part, learned from sequences.

    A state is {"deter": [B, D], "stoch": [B, Z]}, imagined [M, P, .]. It is zero before the first
    observation of an episode, in training too. Where the environment's reward or termination
    function is known, it is applied to decoded observations instead of the learned head.

    Axes: F = D + Z feature entries; see also `Model`.
    """

    state_source = "history"
    is_latent_world_model = True

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        size: SizeName = "tiny",
        latents: LatentKind = "categorical",
        recurrent: bool = True,
        num_particles: Count = 1,
        batch_size: Count = 16,
        sequence_length: Count = 32,
        fit_steps: Count = 100,
        learning_rate: LearningRate = 1e-3,
        max_grad_norm: PositiveFloat = 100.0,
        observation_scale: NonNegativeFloat = 1.0,
        dynamics_scale: NonNegativeFloat = 1.0,
        representation_scale: NonNegativeFloat = 0.1,
        free_nats: NonNegativeFloat = 0.1,
        unimix: Fraction = 0.01,
        num_bins: Count = 41,
        precision: Precision = "float32",
        compile: bool = False,
        accuracy_horizon: CountOrZero = 15,
    ) -> None:
        super().__init__(spec, device)
        self.num_particles = num_particles
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.fit_steps = fit_steps
        self.learning_rate = learning_rate
        self.max_grad_norm = max_grad_norm
        self.observation_scale = observation_scale
        self.dynamics_scale = dynamics_scale
        self.representation_scale = representation_scale
        self.free_nats = free_nats
        self.accuracy_horizon = accuracy_horizon
        self.two_hot = TwoHot(num_bins, device)
        self.nets = WorldModel(
            spec.obs_dim, spec.obs_shape, spec.action.dim, generator, size, latents, recurrent,
            unimix, num_bins,
        ).to(device)  # fmt: skip
        self.precision = precision
        self.compile = compile
        if compile and (reason := find_compiler_error()):
            raise UserError(f"model.compile=true: cannot compile here ({reason}); use false")
        set_precision(self.nets, precision)
        if compile:
            compile_networks(self.nets)
        self.dynamics = self.nets.dynamics
        self.latents = self.dynamics.latents
        self.feature_dim = self.nets.feature_dim
        self.scaling = ObservationScaling(spec, device)
        self.reward_scale = RewardScale(device, MAX_DRIFT_OF_BINS)
        self.optimiser = AdamW(list(self.nets.parameters()))

    def initial(self, num_rows: int) -> State:
        """Return zeros, the state before the first observation."""
        sizes = {"deter": self.dynamics.deter, "stoch": self.latents.size}
        return {key: torch.zeros(num_rows, size, device=self.device) for key, size in sizes.items()}

    @torch.no_grad()
    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Return the state after action [B, A] led to obs [B, O]; stoch is the posterior's mode."""
        deter = self.dynamics(state["deter"], state["stoch"], action.to(self.device))
        embedded = self.nets.encoder(self.scaling.to_network(obs.to(self.device)))
        posterior = self.dynamics.posterior(deter, embedded)
        return {"deter": deter, "stoch": self.latents.mode(posterior)}

    @torch.no_grad()
    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step; see `Model.step`."""
        rows, particles = state["deter"].shape[:2]
        noise = self.latents.noise((1 if common_noise else rows, particles), generator)
        each = action[:, None].expand(-1, particles, -1) if action.dim() == 2 else action
        next_state = self._next_state(state, each, noise)
        return Step(next_state, *self._outcomes(features(state), each, features(next_state)))

    @torch.no_grad()
    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Trajectories:
        """Imagine the states step by step, then all rewards at once; see `Model.unroll`."""
        noise = self.latents.noise((len(actions), 1, self.num_particles), generator)
        each = actions[:, :, None].expand(-1, -1, self.num_particles, -1)  # [H, M, P, A]
        steps = [features(state)]
        for action, step_noise in zip(each, noise, strict=True):
            state = self._next_state(state, action, step_noise)
            steps.append(features(state))
        feature = torch.stack(steps)  # [H + 1, M, P, F]
        return Trajectories(*self._outcomes(feature[:-1], each, feature[1:]), None, state)

    @torch.no_grad()
    def imagine(
        self,
        deter: Tensor,
        stoch: Tensor,
        act: Callable[[Tensor], Tensor],
        steps: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Imagine a rollout of a policy from each of N states.

        Args:
            deter: [N, D].
            stoch: [N, Z].
            act: maps features [N, F] to actions [N, A].
            steps: H.
            generator: for the samples of the latents.

        Returns:
            features [H + 1, N, F], from the start on, and actions [H, N, A].
        """
        noise = self.latents.noise((steps, len(deter)), generator)
        feature = deter.new_empty(steps + 1, len(deter), self.feature_dim)
        actions = []
        state = {"deter": deter, "stoch": stoch}
        feature[0] = features(state)
        for step, step_noise in enumerate(noise):
            actions.append(act(feature[step]))
            state = self._next_state(state, actions[-1].clamp(-1.0, 1.0), step_noise)
            torch.cat([state["deter"], state["stoch"]], -1, out=feature[step + 1])
        return feature, torch.stack(actions)

    @torch.no_grad()
    def reward_and_continues(self, feature: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return reward and continue probability [H, N] of each step that `imagine` returned.

        Args:
            feature: [H + 1, N, F].
            actions: [H, N, A].
        """
        return self._outcomes(feature[:-1], actions.clamp(-1.0, 1.0), feature[1:])

    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O] of imagined states."""
        return self._decode(features(state))

    def _next_state(self, state: State, action: Tensor, noise: Tensor) -> State:
        """Return the next state; stoch is a sample of the prior."""
        deter = self.dynamics(state["deter"], state["stoch"], action)
        return {"deter": deter, "stoch": self.latents.sample(self.dynamics.prior(deter), noise)}

    def _outcomes(
        self, feature: Tensor, action: Tensor, next_feature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return reward and continue probability [...] of transitions between features [..., F]."""
        spec = self.spec
        transition: tuple[Tensor, ...] = ()
        if spec.known_reward is not None or spec.known_termination is not None:
            transition = self._decode(feature), action, self._decode(next_feature)
        if spec.known_reward is not None:
            reward = spec.known_reward(*transition)
        else:
            predicted = self.two_hot.predict(self.nets.reward_head, next_feature)
            reward = self.reward_scale.restore(predicted)
        if spec.known_termination is not None:
            return reward, 1.0 - spec.known_termination(*transition).float()
        return reward, torch.sigmoid(self.nets.continue_head(next_feature)[..., 0])

    @torch.no_grad()
    def _decode(self, feature: Tensor) -> Tensor:
        """Return the observations [..., O] of features [..., F]."""
        return self.scaling.from_network(self.nets.decoder(feature))

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Take `fit_steps` gradient steps, each on new sequences; see `Model.fit`.

        If the loss is not finite, the weights from before the fit are restored.
        """
        before = copy.deepcopy(self.state_dict())
        total = torch.zeros(len(LOSSES), device=self.device)
        for _ in range(self.fit_steps):
            total += self.learn(self.sample_sequences(replay, generator), generator).losses
        losses = dict(zip(LOSSES, (total / self.fit_steps).tolist(), strict=True))
        diverged = not math.isfinite(losses["train_loss"])
        if diverged:
            self.load_state_dict({**before, "is_fitted": True})
        metrics = losses | self.measure_accuracy(replay, generator)
        return metrics | ({"rolled_back": 1.0} if diverged else {})

    def sample_sequences(self, replay: ReplayBuffer, generator: torch.Generator) -> Sequences:
        """Return the sequences for one gradient step; refit the scales that are outdated."""
        self.scaling.refit(replay)
        self.reward_scale.refit(replay)
        return replay.sample_sequences(
            self.batch_size, self.sequence_length, generator, self.device
        )

    def learn(self, data: Sequences, generator: torch.Generator) -> LearnResult:
        """Take one gradient step on sequences; see `rssm_losses` for the equations."""
        nets = self.nets
        obs = self.scaling.to_network(data.obs)
        noise = self.latents.noise(data.reward.shape, generator)
        deter, stoch, posterior = self.dynamics.filter_sequence(
            nets.encoder(obs), data.action, data.first, data.restarts, noise
        )
        feature = torch.cat([deter, stoch], -1)  # [T, n, F]
        prior = self.dynamics.prior(deter)  # [T, n, U]
        obs_loss = rssm_losses.observation_loss(nets.decoder(feature), obs)
        reward = self.reward_scale.normalize(data.reward)
        reward_loss = self.two_hot.loss(nets.reward_head(feature), reward).mean()
        continue_logits = nets.continue_head(feature)[..., 0]  # [T, n]
        continue_loss = rssm_losses.continue_loss(continue_logits, data.terminated)
        dynamics_loss, representation_loss, kl = rssm_losses.kl_losses(
            self.latents, posterior, prior, self.free_nats
        )
        loss = self.observation_scale * obs_loss + reward_loss + continue_loss
        loss = loss + self.dynamics_scale * dynamics_loss
        loss = loss + self.representation_scale * representation_loss
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(clip_gradients(gradients, self.max_grad_norm), self.learning_rate)
        self.is_fitted = True
        with torch.no_grad():
            entropy = self.latents.entropy(posterior).mean()
            losses = torch.stack([loss, obs_loss, reward_loss, continue_loss, kl, entropy])
        return LearnResult(deter.detach(), stoch.detach(), losses.detach())

    def measure_accuracy(
        self, replay: ReplayBuffer, generator: torch.Generator
    ) -> dict[str, float]:
        """Return the open-loop errors on held-out episodes by name."""
        return measure_open_loop(self, replay, self.accuracy_horizon, generator)

    def video(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return held-out episodes beside their open-loop prediction; see `Model.video`."""
        return open_loop_video(self, replay, generator)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimiser and the scales of observations and rewards."""
        return {
            "nets": {key: value.clone() for key, value in self.nets.state_dict().items()},
            "optimiser": self.optimiser.state_dict(),
            "scaling": self.scaling.state_dict(),
            "reward_scale": self.reward_scale.state_dict(),
            "is_fitted": self.is_fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.nets.load_state_dict(state["nets"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaling.load_state_dict(state["scaling"])
        self.reward_scale.load_state_dict(state["reward_scale"])
        self.is_fitted = state["is_fitted"]


def features(state: State) -> Tensor:
    """Return the input of heads, actors and critics: [deter | stoch] of a state, [..., F]."""
    return torch.cat([state["deter"], state["stoch"]], -1)
