"""TD-MPC2 (Hansen et al. 2024): a latent model that predicts rewards, values and its next latent.

Differences from the paper: a head predicts whether the task continues, so that tasks may terminate;
observations and rewards are scaled by the replay; targets over bins are spread (`TwoHot`); hidden
layers use SiLU, because Mish takes ten times as long on a CPU, LayerNorm without learned scale, and
no dropout.

This file has more than 300 lines because imagination and learning share the networks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.models import tdmpc2_losses
from mbrl_cli.models.base import Model, Trajectories
from mbrl_cli.models.episodes import Episodes
from mbrl_cli.models.observation_scaling import scale_images
from mbrl_cli.models.tdmpc2_checks import check_groups, check_spec
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.gradient_clipping import clip_gradients
from mbrl_cli.nets.implicit_world_model import ImplicitWorldModel, SizeName
from mbrl_cli.nets.sim_norm import GROUPS
from mbrl_cli.nets.symlog_two_hot import SymlogTwoHot
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.replay_normalizer import ReplayNormalizer
from mbrl_cli.replay.reward_scale import MAX_DRIFT_OF_BINS, RewardScale
from mbrl_cli.types import (
    Count,
    EnvSpec,
    Fraction,
    LearningRate,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    State,
    Step,
)

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env

LOSSES = ("train_loss", "consistency_loss", "reward_loss", "value_loss", "continue_loss")


class TDMPC2(Model):
    """Latent model with the state {"latent" [B, D]}; imagined states have a particle axis of 1.

    It is trained by an agent that owns the policy whose values the critics learn (`learn`), not by
    `fit`. Rewards and values are in typical rewards inside the networks; see `RewardScale`.

    Axes: B environments, M rows, D latent, A action dim, n sequences of H steps, E critics.

    Args:
        spec: the environment.
        device: where the networks live.
        generator: initial weights.
        size: widths of the networks.
        unroll_steps: H, real steps along which the model is unrolled for a loss.
        rho: weight of a step relative to the step before it.
        learning_rate: of AdamW.
        encoder_rate: learning rate of the encoder, relative to `learning_rate`.
        max_grad_norm: norm at which gradients are clipped.
        consistency_weight: weight of the consistency loss.
        reward_weight: weight of the reward loss.
        value_weight: weight of the value loss.
        continue_weight: weight of the loss of the probability to continue.
        target_rate: update rate of the slow copies of the critics.
        num_bins: bins of the distributions of reward and value.

    Attributes:
        has_ends: whether any transition so far has terminated the task. Before the first one the
            probability to continue is 1 and is not learned.
        value_offset: the critics learn by how much a value, in typical rewards, differs from this
            one. If one of the first transitions terminates the task, it is the value of their mean
            reward for ever, so that states far from a termination have about the right value at
            once. Else it is 0.
    """

    learns_from = "td"

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: Generator,
        size: SizeName = "tiny",
        unroll_steps: Count = 3,
        rho: PositiveFraction = 0.5,
        learning_rate: LearningRate = 3e-4,
        encoder_rate: Fraction = 0.3,
        max_grad_norm: PositiveFloat = 20.0,
        consistency_weight: NonNegativeFloat = 20.0,
        reward_weight: NonNegativeFloat = 0.1,
        value_weight: NonNegativeFloat = 0.1,
        continue_weight: NonNegativeFloat = 1.0,
        target_rate: LearningRate = 0.01,
        num_bins: Count = 101,
    ) -> None:
        check_spec(spec)
        super().__init__(spec, device)
        self.unroll_steps = unroll_steps
        self.rho = rho
        self.learning_rate = learning_rate
        self.encoder_rate = encoder_rate
        self.max_grad_norm = max_grad_norm
        weights = consistency_weight, reward_weight, value_weight, continue_weight
        self.loss_weights = torch.tensor(weights, device=device)
        self.target_rate = target_rate
        self.normalizer = ReplayNormalizer(spec.obs_dim, device)
        self.reward_scale = RewardScale(device, MAX_DRIFT_OF_BINS)
        self.two_hot = SymlogTwoHot(num_bins, device)
        is_discrete = spec.action.kind == "discrete"
        self.nets = ImplicitWorldModel(
            spec.obs_dim, spec.obs_shape, spec.action.dim, is_discrete, num_bins, generator, size,
            device,
        )  # fmt: skip
        self.latent_dim = self.nets.size.latent
        self.slow_critics = [parameter.clone() for parameter in self.nets.critics.detached()]
        self.encoder_optimiser = AdamW(self.nets.encoder_parameters)
        self.optimiser = AdamW(self.nets.other_parameters)
        self.has_ends = False
        self.value_offset = torch.zeros((), device=device)
        self.seen = 0  # transitions that were searched for terminations

    @property
    def graph_version(self) -> int:
        """Return a number that changes when a recorded CUDA graph is out of date.

        That is when the probability to continue is used for the first time, and when the scale of
        the observations is fitted again: the clipping of constant entries may begin or end.
        """
        return 2 * self.normalizer.fitted_rows + int(self.has_ends)

    def initial(self, num_rows: int) -> State:
        """Return zeros; a latent depends on the last observation alone."""
        return {"latent": torch.zeros(num_rows, self.latent_dim, device=self.device)}

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Return the state of obs [B, O]."""
        return {"latent": self.encode(obs.to(self.device))}

    @torch.no_grad()
    def encode(self, obs: Tensor) -> Tensor:
        """Map obs [..., O] to latents [..., D], without gradient."""
        rows = self._to_network(obs).reshape(-1, obs.shape[-1])
        return self.nets.encode(rows).view(*obs.shape[:-1], -1)

    @torch.no_grad()
    def step(
        self, state: State, action: Tensor, generator: Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step of action [M, A]; see `Model.step`."""
        row_action = action if action.dim() == 2 else action[:, 0]  # [M, A]
        latent_action = torch.cat([state["latent"][:, 0], row_action], -1)
        latent = self.nets.next_latent(latent_action)
        reward = self._reward(latent_action)
        continues = torch.ones_like(reward)
        if self.has_ends:
            continues = self.nets.continue_logits(latent).sigmoid()
        return Step({"latent": latent[:, None]}, reward[:, None], continues[:, None])

    @torch.no_grad()
    def next_latent(self, latent: Tensor, action: Tensor) -> Tensor:
        """Return the latents [n, D] after actions [n, A] at latents [n, D]."""
        return self.nets.next_latent(torch.cat([latent, action], -1))

    @torch.no_grad()
    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: Generator,
        with_disagreement: bool = False,
    ) -> Trajectories:
        """Imagine the latents step by step, then all rewards at once; see `Model.unroll`."""
        horizon, rows = actions.shape[:2]
        # One buffer for all inputs, so that nothing is concatenated inside the loop.
        inputs = actions.new_empty(horizon, rows, self.latent_dim + actions.shape[2])
        inputs[..., self.latent_dim :] = actions
        latents = actions.new_empty(horizon, rows, self.latent_dim)  # after each step
        inputs[0, :, : self.latent_dim] = state["latent"][:, 0]
        for step in range(horizon):
            latents[step] = self.nets.next_latent(inputs[step])
            if step + 1 < horizon:
                inputs[step + 1, :, : self.latent_dim] = latents[step]
        reward = self._reward(inputs.flatten(0, 1)).view(horizon, rows, 1)
        continues = None
        if self.has_ends:
            continues = self.nets.continue_logits(latents.flatten(0, 1)).sigmoid()
            continues = continues.view(horizon, rows, 1)
        return Trajectories(reward, continues, None, {"latent": latents[-1][:, None]})

    def decode(self, state: State) -> Tensor:
        """Raise UserError: the model has no decoder."""
        raise UserError(
            "model=tdmpc2: cannot decode latent states into observations; use linear, mlp, "
            "ensemble, gaussian_ensemble, rssm or latent"
        )

    def q(
        self, latent: Tensor, action: Tensor | None, parameters: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return the critics' values of action [n, A] at latent [n, D], in typical rewards.

        Args:
            latent: [n, D].
            action: [n, A]; None: all choices of a discrete action.
            parameters: of the critics; None: the current ones, without gradient to them.

        Returns:
            [E, n], or [E, n, A] for all choices.
        """
        weights = self.nets.critics.detached() if parameters is None else parameters
        logits = self.nets.critic_logits(latent, action, weights)
        return self.two_hot.mean(logits) + self.value_offset

    def refit_scales(self, replay: ReplayBuffer, discount: float) -> None:
        """Fit outdated scales again; look for terminations; before training set `value_offset`."""
        if self.spec.obs_shape is None:
            self.normalizer.refit(replay)
        self.value_offset *= self.reward_scale.refit(replay)
        if replay.total_added < self.seen:  # another replay: the model was learned in another run
            self.seen = 0
        first = max(self.seen, replay.total_added - len(replay))
        new = replay.transitions(first, replay.total_added)
        self.has_ends = self.has_ends or bool(new["terminated"].any())
        self.seen = replay.total_added
        if self.has_ends and not self.is_fitted and discount < 1.0:
            value = torch.tensor(replay.rewards_since(0).mean() / (1.0 - discount))
            self.value_offset.copy_(self.reward_scale.normalize(value))

    def learn(self, data: Episodes, next_latent: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Take one gradient step; see `tdmpc2_losses` for the equations.

        Args:
            data: real sequences.
            next_latent: encoded `data.next_obs` [H, n, D], without gradient.
            target: TD target of each step [H, n], in typical rewards.

        Returns:
            latents [H + 1, n, D] without gradient, imagined along the real actions, and `LOSSES`.
        """
        nets = self.nets
        latents = [nets.encode(self._to_network(data.first_obs))]
        inputs = []
        for action in data.action:
            inputs.append(torch.cat([latents[-1], action], -1))
            latents.append(nets.next_latent(inputs[-1]))
        latent = torch.stack(latents)  # [H + 1, n, D]
        before, after = latent[:-1].flatten(0, 1), latent[1:]  # [H * n, D], [H, n, D]
        shape = data.reward.shape  # [H, n]
        reward_logits = nets.reward_logits(torch.cat(inputs)).view(*shape, -1)
        value_logits = nets.critic_logits(
            before, data.action.flatten(0, 1), nets.critics.parameters
        )
        value_logits = value_logits.view(-1, *shape, value_logits.shape[-1])  # [E, H, n, K]
        weight = tdmpc2_losses.step_weights(data.mask, self.rho)
        reward = self.reward_scale.normalize(data.reward)
        losses = [
            tdmpc2_losses.consistency_loss(after, next_latent, weight),
            tdmpc2_losses.reward_loss(self.two_hot, reward_logits, reward, weight),
            tdmpc2_losses.value_loss(
                self.two_hot, value_logits, target - self.value_offset, weight
            ),
            torch.zeros((), device=self.device),
        ]
        if self.has_ends:
            logits = nets.continue_logits(after.flatten(0, 1)).view(shape)
            losses[3] = tdmpc2_losses.continue_loss(logits, data.terminated, data.mask)
        each = torch.stack(losses)
        loss = (each * self.loss_weights).sum()
        self._update(loss)
        self.is_fitted = True
        return latent.detach(), torch.cat([loss[None], each]).detach()

    def _update(self, loss: Tensor) -> None:
        """Take one gradient step of all networks, then update the slow critics."""
        encoder, others = self.encoder_optimiser, self.optimiser
        parameters = [*encoder.parameters, *others.parameters]
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        clipped = clip_gradients(gradients, self.max_grad_norm)
        count = len(encoder.parameters)
        encoder.step(clipped[:count], self.encoder_rate * self.learning_rate)
        others.step(clipped[count:], self.learning_rate)
        torch._foreach_lerp_(self.slow_critics, self.nets.critics.detached(), self.target_rate)

    def _to_network(self, obs: Tensor) -> Tensor:
        """Return obs [..., O] in the units of the encoder: images in [-0.5, 0.5]."""
        return self.normalizer(obs) if self.spec.obs_shape is None else scale_images(obs)

    def _reward(self, latent_action: Tensor) -> Tensor:
        """Return the reward [n] of [latent | action] [n, D + A], in the environment's unit."""
        return self.reward_scale.restore(self.two_hot.mean(self.nets.reward_logits(latent_action)))

    def state_dict(self) -> dict[str, Any]:
        """Return networks, slow critics, optimisers and scales."""
        state = {
            "encoder": [parameter.detach() for parameter in self.encoder_optimiser.parameters],
            "others": [parameter.detach() for parameter in self.optimiser.parameters],
            "slow_critics": self.slow_critics,
            "encoder_optimiser": self.encoder_optimiser.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "reward_scale": self.reward_scale.state_dict(),
            "has_ends": self.has_ends,
            "value_offset": self.value_offset,
            "seen": self.seen,
            "is_fitted": self.is_fitted,
            "latent_groups": GROUPS,
        }
        return copy.deepcopy(state)  # later gradient steps change the tensors in place

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        check_groups(state.get("latent_groups"))
        for key, own in (
            ("encoder", self.encoder_optimiser.parameters),
            ("others", self.optimiser.parameters),
            ("slow_critics", self.slow_critics),
        ):
            for parameter, value in zip(own, state[key], strict=True):
                parameter.copy_(value)
        self.encoder_optimiser.load_state_dict(state["encoder_optimiser"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.reward_scale.load_state_dict(state["reward_scale"])
        self.has_ends, self.seen = state["has_ends"], state["seen"]
        self.value_offset.copy_(state["value_offset"])
        self.is_fitted = state["is_fitted"]
