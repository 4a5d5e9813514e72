"""MuZero: a latent model that is trained to predict reward, value and policy only.

Sources: Schrittwieser et al. 2020 (MuZero): representation, dynamics and prediction, unrolled along
real actions. Ye et al. 2021 (EfficientZero, section 4.1): the unrolled latents are pulled towards
the latents of the real observations. In addition, a head predicts the probability that the episode
continues, so that nothing has to be learned about states after its end.

This file has more than 300 lines because imagination and learning share the four networks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.models.muzero_losses import (
    consistency_loss,
    continues_loss,
    policy_loss,
    reward_loss,
    value_loss,
)
from mbrl_cli.models.search_targets import SearchTargets
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.nets.two_hot import TwoHot
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.replay_normalizer import ReplayNormalizer
from mbrl_cli.replay.reward_scale import MAX_DRIFT_OF_BINS, RewardScale
from mbrl_cli.types import (
    Activation,
    Count,
    EnvSpec,
    LearningRate,
    NonNegativeFloat,
    State,
    Step,
)

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env

MAX_IMAGE_ENTRIES = 4096  # of an image that a network without convolutions can learn from
BINS = 127  # of the distributions of reward and value


class _Unrolled(NamedTuple):
    """Predictions along K real actions of n sequences."""

    latent: Tensor  # [n, K+1, D]
    policy: Tensor  # [n, K+1, A] logits
    value: Tensor  # [n, K+1, bins] logits
    reward: Tensor  # [n, K, bins] logits
    continues: Tensor  # [n, K] logits


class MuZero(Model):
    """Latent model with the state {"latent" [B, D], "policy" [B, A], "value" [B, 1]}.

    Imagined states have a particle axis of length 1. Policy and value are predicted with the step
    that leads to a state and stored in it. The model is trained by an agent that searches with it
    (`learn`), not by `fit`.

    Axes: B environments, M rows, D latent, A actions, n sequences, K steps of each.

    Args:
        spec: the environment; its action is one discrete choice.
        device: where the networks live.
        generator: initial weights.
        latent_dim: D.
        hidden: widths of the hidden layers of all three networks.
        activation: of the hidden layers.
        unroll_steps: K, the real actions along which the model is unrolled for the loss.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        value_weight: weight of the value loss.
        consistency_weight: weight of the consistency loss; 0: plain MuZero.
        target_rate: update rate of the target networks (exponential moving average).
    """

    learns_from = "search"
    losses = ("policy", "value", "reward", "continues", "consistency")

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        latent_dim: Count = 64,
        hidden: Sequence[Count] = (64,),
        activation: Activation = "silu",
        unroll_steps: Count = 5,
        learning_rate: LearningRate = 2e-3,
        weight_decay: NonNegativeFloat = 1e-4,
        value_weight: NonNegativeFloat = 0.25,
        consistency_weight: NonNegativeFloat = 1.0,
        target_rate: LearningRate = 5e-2,
    ) -> None:
        if spec.obs_shape is not None and spec.obs_dim > MAX_IMAGE_ENTRIES:
            raise UserError(
                f"model=MuZero: needs vector observations, and {spec.id} observes images "
                f"{list(spec.obs_shape)}; use agent=dreamer, or env.obs=pixels for small images"
            )
        super().__init__(spec, device)
        self.unroll_steps = unroll_steps
        self.loss_weights = {
            "policy": 1.0,
            "value": value_weight,
            "reward": 1.0,
            "continues": 1.0,
            "consistency": consistency_weight,
        }
        self.target_rate = target_rate
        self.latent_dim = latent_dim
        self.normalizer = ReplayNormalizer(spec.obs_dim, device)
        self.reward_scale = RewardScale(device, MAX_DRIFT_OF_BINS)
        self.two_hot = TwoHot(BINS, device)

        def net(inputs: int, outputs: int) -> StackedMLP:
            return StackedMLP(
                1, inputs, outputs, generator, hidden, activation, layer_norm=True, device=device
            )

        self.representation = net(spec.obs_dim, latent_dim)
        # Outputs: change of the latent | reward bins | logit of continuation.
        self.dynamics = net(latent_dim + spec.action.dim, latent_dim + BINS + 1)
        self.prediction = net(latent_dim, spec.action.dim + BINS)  # policy | value bins
        # Reward and value start as 0 (equal bins): the outermost bins stand for +-22,000.
        self.dynamics.zero_outputs(slice(latent_dim, latent_dim + BINS))
        self.prediction.zero_outputs(slice(spec.action.dim, None))
        self.nets = (self.representation, self.dynamics, self.prediction)
        self.target_parameters = [
            copy.deepcopy(n.detached()) for n in (self.representation, self.prediction)
        ]
        self.learning_rate = learning_rate
        parameters = [parameter for n in self.nets for parameter in n.parameters]
        self.optimiser = AdamW(parameters, weight_decay)

    def initial(self, num_rows: int) -> State:
        """Return zeros; a latent depends on the last observation alone."""
        sizes = {"latent": self.latent_dim, "policy": self.spec.action.dim, "value": 1}
        return {key: torch.zeros(num_rows, size, device=self.device) for key, size in sizes.items()}

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Return the state of obs [B, O]: the representation function."""
        return self._state_of(self._represent(obs.to(self.device)))

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step of action [M, A]; see `Model.step`."""
        row_action = action if action.dim() == 2 else action[:, 0]  # [M, A]
        latent, reward, continues = self._dynamics_step(state["latent"][:, 0], row_action)
        rows = {key: value[:, None] for key, value in self._state_of(latent).items()}
        reward = self.reward_scale.restore(self.two_hot.mean(reward))
        return Step(rows, reward[:, None], continues.sigmoid()[:, None])

    def decode(self, state: State) -> Tensor:
        """Raise UserError: the model has no decoder."""
        raise UserError(
            "model=muzero: cannot decode latent states into observations; use linear, mlp, "
            "ensemble, gaussian_ensemble, rssm or latent"
        )

    def value(self, state: State) -> Tensor:
        """Return the value [M, 1] of imagined states."""
        return state["value"][..., 0]

    def prior(self, state: State) -> Tensor:
        """Return the policy's probabilities [M, A] in imagined states."""
        return state["policy"][:, 0]

    def _represent(self, obs: Tensor, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Map obs [n, O] to latents [n, D]: h in the paper."""
        out = self.representation(self.normalizer(obs)[None], parameters)[0]
        return F.layer_norm(out, out.shape[-1:])

    def _dynamics_step(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map latents [n, D] and actions [n, A] to the next latents: g in the paper.

        Returns:
            Latents [n, D], logits of the reward [n, bins], logits of continuation [n].
        """
        out = self.dynamics(torch.cat([latent, action], dim=-1)[None])[0]
        change, reward, continues = torch.split(out, [self.latent_dim, BINS, 1], dim=-1)
        return F.layer_norm(latent + change, change.shape[-1:]), reward, continues[:, 0]

    def _predict(
        self, latent: Tensor, parameters: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map latents [n, D] to logits of policy [n, A] and value [n, bins]: f in the paper."""
        out = self.prediction(latent[None], parameters)[0]
        policy, value = torch.split(out, [self.spec.action.dim, BINS], dim=-1)
        return policy, value

    def _state_of(self, latent: Tensor) -> State:
        """Return the state of latents [n, D], with policy and value."""
        policy, value = self._predict(latent)
        return {
            "latent": latent,
            "policy": policy.softmax(-1),
            "value": self.reward_scale.restore(self.two_hot.mean(value))[:, None],
        }

    def refit_scales(self, replay: ReplayBuffer) -> None:
        """Fit the scales of observations and rewards again if they are outdated."""
        self.normalizer.refit(replay)
        self.reward_scale.refit(replay)

    @torch.no_grad()
    def target_value(self, obs: Tensor) -> Tensor:
        """Return the target networks' value [n] of obs [n, O]."""
        representation, prediction = self.target_parameters
        _, value = self._predict(self._represent(obs, representation), prediction)
        return self.reward_scale.restore(self.two_hot.mean(value))

    def learn(self, targets: SearchTargets) -> Tensor:
        """Take one gradient step; return the unweighted losses, in the order of `losses`."""
        losses = self._losses(targets)
        weighted = [self.loss_weights[name] * loss for name, loss in losses.items()]
        loss = torch.stack(weighted).sum()
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(gradients, self.learning_rate)
        for target, net in zip(
            self.target_parameters, (self.representation, self.prediction), strict=True
        ):
            torch._foreach_lerp_(target, net.detached(), self.target_rate)
        self.is_fitted = True
        return torch.stack([loss.detach() for loss in losses.values()])

    def _losses(self, targets: SearchTargets) -> dict[str, Tensor]:
        """Return the losses by name (MuZero, equation 1; EfficientZero, section 4.1)."""
        num_sequences, num_steps = targets.reward.shape
        with torch.no_grad():
            encoded = self._represent(targets.obs.flatten(0, 1), self.target_parameters[0])
            encoded = encoded.view(*targets.obs.shape[:2], -1)  # [n, K+1, D]
        unrolled = self._unroll_actions(targets.obs[:, 0], targets.action)
        # Every unrolled step weighs 1 / K (MuZero, appendix G), the first state 1. So the first
        # state has as much influence on policy and value as all unrolled states together.
        step_weight = targets.mask / (num_steps * num_sequences)  # [n, K+1]
        state_weight = step_weight.clone()
        state_weight[:, 0] *= num_steps
        return {
            "policy": policy_loss(unrolled.policy, targets.policy, state_weight),
            "value": value_loss(
                self.two_hot,
                unrolled.value,
                self.reward_scale.normalize(targets.value),
                state_weight * targets.value_mask,
            ),
            "reward": reward_loss(
                self.two_hot,
                unrolled.reward,
                self.reward_scale.normalize(targets.reward),
                step_weight[:, :-1],
            ),
            "continues": continues_loss(
                unrolled.continues, targets.terminated, step_weight[:, :-1]
            ),
            "consistency": consistency_loss(
                unrolled.latent[:, 1:], encoded[:, 1:], step_weight[:, 1:]
            ),
        }

    def _unroll_actions(self, obs: Tensor, actions: Tensor) -> _Unrolled:
        """Unroll the model from obs [n, O] along actions [n, K, A]."""
        latents, rewards, continues = [self._represent(obs)], [], []
        for k in range(actions.shape[1]):
            # Halve the gradient at the start of every further step (MuZero, appendix G): otherwise
            # the gradient of K steps would dominate that of the representation.
            start = torch.lerp(latents[k], latents[k].detach(), 0.5 if k else 0.0)
            latent, reward, continuation = self._dynamics_step(start, actions[:, k])
            latents.append(latent)
            rewards.append(reward)
            continues.append(continuation)
        latent = torch.stack(latents, dim=1)  # [n, K+1, D]
        policy, value = (
            logits.view(*latent.shape[:2], -1) for logits in self._predict(latent.flatten(0, 1))
        )
        return _Unrolled(
            latent=latent,
            policy=policy,
            value=value,
            reward=torch.stack(rewards, dim=1),
            continues=torch.stack(continues, dim=1),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return networks, target networks, optimiser and scales."""
        state = {
            "nets": [net.detached() for net in self.nets],
            "target_parameters": self.target_parameters,
            "optimiser": self.optimiser.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "reward_scale": self.reward_scale.state_dict(),
            "is_fitted": self.is_fitted,
        }
        return copy.deepcopy(state)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        for net, saved in zip(self.nets, state["nets"], strict=True):
            net.load(saved)
        for own, saved in zip(self.target_parameters, state["target_parameters"], strict=True):
            for parameter, value in zip(own, saved, strict=True):
                parameter.copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.reward_scale.load_state_dict(state["reward_scale"])
        self.is_fitted = state["is_fitted"]
