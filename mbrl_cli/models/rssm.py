"""Recurrent state-space model (PlaNet, Hafner et al. 2019; losses and heads of DreamerV3, 2023).

A sequence model of observations: its state is what matters of the past, so that rewards, the chance
to go on and the next state follow from it without any observation.

Notation: h -> deter, z -> stoch, beta_dyn -> dynamics_scale, beta_rep -> representation_scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model, Trajectories
from mbrl_cli.models.open_loop import measure_open_loop, video_open_loop
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.compilation import compile_networks, find_compiler_error
from mbrl_cli.nets.gradient_clipping import clip_gradients
from mbrl_cli.nets.mixed_precision import Precision, set_precision
from mbrl_cli.nets.two_hot import TwoHot, symexp, symlog
from mbrl_cli.nets.world_model import LatentKind, SizeName, WorldModel
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import Normalizer
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

LOSSES = ("train_loss", "obs_loss", "reward_loss", "continue_loss", "kl", "latent_entropy")


class Learned(NamedTuple):
    """What came of one gradient step."""

    deter: Tensor  # [T, n, D] filtered states, constants
    stoch: Tensor  # [T, n, Z]
    losses: Tensor  # the means named in `LOSSES`


class RSSM(Model):
    """Latent dynamics with a recurrent and a stochastic part, learned from sequences.

    A state is {"deter": [B, D], "stoch": [B, Z]}, imagined [M, P, .]; before an episode's first
    observation it is zero, as it is in training. Where the environment knows its reward or
    termination, these judge decoded observations in place of the learned heads.
    """

    state_source = "history"
    is_latent_world_model = True

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        size: SizeName,
        latents: LatentKind,
        recurrent: bool,
        num_particles: Count,
        batch_size: Count,
        sequence_length: Count,
        fit_steps: Count,
        learning_rate: LearningRate,
        max_grad_norm: PositiveFloat,
        dynamics_scale: NonNegativeFloat,
        representation_scale: NonNegativeFloat,
        free_nats: NonNegativeFloat,
        unimix: Fraction,
        num_bins: Count,
        precision: Precision,
        compile: bool,
        accuracy_horizon: CountOrZero,
    ) -> None:
        super().__init__(spec, device)
        self.num_particles = num_particles
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.fit_steps = fit_steps
        self.max_grad_norm = max_grad_norm
        self.dynamics_scale = dynamics_scale
        self.representation_scale = representation_scale
        self.free_nats = free_nats
        self.accuracy_horizon = accuracy_horizon
        self.two_hot = TwoHot(num_bins, device)
        self.nets = WorldModel(
            spec.obs_dim,
            spec.obs_shape,
            spec.action.dim,
            generator,
            size,
            latents,
            recurrent,
            unimix,
            num_bins,
        ).to(device)
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
        self.normalizer = Normalizer(spec.obs_dim, device)
        self.scaled_rows = 0  # transitions that there were when it was fitted
        self.learning_rate = learning_rate
        self.optimiser = AdamW(list(self.nets.parameters()))
        self._integer = torch.tensor(spec.obs_integer, device=device)  # [O]

    # --- real observations --------------------------------------------------------------------

    def initial(self, num_rows: int) -> State:
        """Return zeros: nothing has been seen."""
        sizes = {"deter": self.dynamics.deter, "stoch": self.latents.size}
        return {key: torch.zeros(num_rows, size, device=self.device) for key, size in sizes.items()}

    @torch.no_grad()
    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Move on with the action and look at obs [B, O]; take the likeliest stochastic part."""
        deter = self.dynamics(state["deter"], state["stoch"], action.to(self.device))
        embedded = self.nets.encoder(self._prepared(obs.to(self.device)))
        return {
            "deter": deter,
            "stoch": self.latents.mode(self.dynamics.posterior(deter, embedded)),
        }

    # --- imagining ----------------------------------------------------------------------------

    @torch.no_grad()
    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step; see `Model.step`."""
        rows, particles = state["deter"].shape[:2]
        noise = self.latents.noise((1 if common_noise else rows, particles), generator)
        each = action[:, None].expand(-1, particles, -1) if action.dim() == 2 else action
        new = self._moved(state, each, noise)
        reward, continues = self._judge(features(state), each, features(new))
        return Step(new, reward, continues)

    @torch.no_grad()
    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Trajectories:
        """Move step by step, then judge all steps at once; see `Model.unroll`."""
        noise = self.latents.noise((len(actions), 1, self.num_particles), generator)
        each = actions[:, :, None].expand(-1, -1, self.num_particles, -1)  # [H, M, P, A]
        seen = [features(state)]
        for action, luck in zip(each, noise, strict=True):
            state = self._moved(state, action, luck)
            seen.append(features(state))
        feature = torch.stack(seen)  # [H + 1, M, P, F]
        return Trajectories(*self._judge(feature[:-1], each, feature[1:]), None, state)

    @torch.no_grad()
    def dream(
        self,
        deter: Tensor,
        stoch: Tensor,
        act: Callable[[Tensor], Tensor],
        steps: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Follow a policy from N states.

        Args:
            deter: [N, D].
            stoch: [N, Z].
            act: maps features [N, F] to actions [N, A].
            steps: H.
            generator: for the latents.

        Returns:
            features [H + 1, N, F], the first of them where the dream began, and actions [H, N, A].
        """
        noise = self.latents.noise((steps, len(deter)), generator)
        feature = deter.new_empty(steps + 1, len(deter), self.feature_dim)
        actions = []
        state = {"deter": deter, "stoch": stoch}
        feature[0] = features(state)
        for step, luck in enumerate(noise):
            actions.append(act(feature[step]))
            state = self._moved(state, actions[-1].clamp(-1.0, 1.0), luck)
            torch.cat([state["deter"], state["stoch"]], -1, out=feature[step + 1])
        return feature, torch.stack(actions)

    @torch.no_grad()
    def judge(self, feature: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return reward and chance to go on [H, N] of what `dream` returned."""
        return self._judge(feature[:-1], actions.clamp(-1.0, 1.0), feature[1:])

    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O] that states stand for."""
        return self._decoded(features(state))

    def _moved(self, state: State, action: Tensor, noise: Tensor) -> State:
        deter = self.dynamics(state["deter"], state["stoch"], action)
        return {"deter": deter, "stoch": self.latents.sample(self.dynamics.prior(deter), noise)}

    def _judge(self, feature: Tensor, action: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
        """Return reward and chance to go on [...] of moves between features [..., F]."""
        spec = self.spec
        moved: tuple[Tensor, ...] = ()
        if spec.known_reward is not None or spec.known_termination is not None:
            moved = self._decoded(feature), action, self._decoded(reached)
        if spec.known_reward is not None:
            reward = spec.known_reward(*moved)
        else:
            reward = self.two_hot.predict(self.nets.reward_head, reached)
        if spec.known_termination is not None:
            return reward, 1.0 - spec.known_termination(*moved).float()
        return reward, torch.sigmoid(self.nets.continue_head(reached)[..., 0])

    def _prepared(self, obs: Tensor) -> Tensor:
        """Return observations [..., O] as networks read them: squeezed, or brightness."""
        if self.spec.obs_shape is not None:
            return obs / 255.0 - 0.5
        return symlog(self.normalizer(obs))

    @torch.no_grad()
    def _decoded(self, feature: Tensor) -> Tensor:
        decoded = self.nets.decoder(feature)
        if self.spec.obs_shape is not None:
            return ((decoded + 0.5) * 255.0).round().clamp(0.0, 255.0)  # type: ignore[no-any-return]
        obs = symexp(decoded) * self.normalizer.std + self.normalizer.mean
        return torch.where(self._integer, obs.round(), obs)

    # --- learning -----------------------------------------------------------------------------

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Take `fit_steps` gradient steps, each on fresh sequences; see `Model.fit`."""
        total = torch.zeros(len(LOSSES), device=self.device)
        for _ in range(self.fit_steps):
            total += self.learn(self.sequences(replay, generator), generator).losses
        losses = dict(zip(LOSSES, (total / self.fit_steps).tolist(), strict=True))
        return losses | self.measure_accuracy(replay, generator)

    def video(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return held-out episodes beside their open-loop prediction; see `Model.video`."""
        return video_open_loop(self, replay, generator)

    def measure_accuracy(
        self, replay: ReplayBuffer, generator: torch.Generator
    ) -> dict[str, float]:
        """Return the open-loop errors on held-out episodes by name."""
        return measure_open_loop(self, replay, self.accuracy_horizon, generator)

    def sequences(self, replay: ReplayBuffer, generator: torch.Generator) -> Sequences:
        """Draw what one gradient step learns from.

        Whenever the data have doubled, observations are scaled anew: random play sees little of
        what a good policy will, and what lies many deviations off is squeezed beyond telling.
        """
        if self.spec.obs_shape is None and len(replay) >= 2 * self.scaled_rows:
            self.scaled_rows = len(replay)
            rows = replay.split()[0]
            self.normalizer.fit(replay.batch(rows, self.device).obs)
        return replay.sample_sequences(
            self.batch_size, self.sequence_length, generator, self.device
        )

    def learn(self, data: Sequences, generator: torch.Generator) -> Learned:
        """Take one gradient step on sequences."""
        nets, dynamics = self.nets, self.dynamics
        obs = self._prepared(data.obs)
        noise = self.latents.noise(data.reward.shape, generator)
        deter, stoch, seen = dynamics.filter_sequence(
            nets.encoder(obs), data.action, data.first, data.restarts, noise
        )
        feature = torch.cat([deter, stoch], -1)  # [T, n, F]
        expected = dynamics.prior(deter)
        obs_loss = (nets.decoder(feature) - obs).square().sum(-1).mean()
        reward_loss = self.two_hot.loss(nets.reward_head(feature), data.reward).mean()
        goes_on = nets.continue_head(feature)[..., 0]
        continue_loss = F.binary_cross_entropy_with_logits(goes_on, 1.0 - data.terminated)
        moving, seeing, kl = self.balanced_kl(seen, expected)
        loss = obs_loss + reward_loss + continue_loss + moving + seeing
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(clip_gradients(gradients, self.max_grad_norm), self.learning_rate)
        self.is_fitted = True
        with torch.no_grad():
            entropy = self.latents.entropy(seen).mean()
            losses = torch.stack([loss, obs_loss, reward_loss, continue_loss, kl, entropy])
        return Learned(deter.detach(), stoch.detach(), losses.detach())

    def balanced_kl(self, seen: Tensor, expected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the prior and what the posterior pays for their difference, and the KL.

        Nobody pays for the first `free_nats`; the prior's share trains it towards the posterior,
        the posterior's keeps it predictable (DreamerV3, equation 5).
        """
        moving = self.latents.kl(seen.detach(), expected)
        seeing = self.latents.kl(seen, expected.detach())
        return (
            self.dynamics_scale * moving.clamp_min(self.free_nats).mean(),
            self.representation_scale * seeing.clamp_min(self.free_nats).mean(),
            moving.detach().mean(),
        )

    # --- saving -------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that was learned."""
        return {
            "nets": {key: value.clone() for key, value in self.nets.state_dict().items()},
            "optimiser": self.optimiser.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "scaled_rows": self.scaled_rows,
            "is_fitted": self.is_fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.nets.load_state_dict(state["nets"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.scaled_rows = state["scaled_rows"]
        self.is_fitted = state["is_fitted"]


def features(state: State) -> Tensor:
    """Return what heads, actors and critics read of a state: [..., D + Z]."""
    return torch.cat([state["deter"], state["stoch"]], -1)
