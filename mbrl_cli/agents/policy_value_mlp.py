"""Policy and value network of observations, for Markov models (AlphaZero)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.models.base import Model
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
)

BINS = 81  # of the distribution of the value


class PolicyValueMLP:
    """MLP with a policy head and a value head; see `PolicyValueNetwork`.

    Axes: M rows, P particles, O obs_dim, A actions, n observations.

    Args:
        spec: the environment; its action is one discrete choice.
        device: where the network lives.
        generator: initial weights.
        model: decodes imagined states into observations.
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        value_weight: weight of the value loss.
        target_rate: update rate of the target network (exponential moving average).
    """

    unroll_steps = 0
    losses = ("policy", "value")

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        hidden: Sequence[Count] = (64, 64),
        activation: Activation = "silu",
        learning_rate: LearningRate = 1e-3,
        weight_decay: NonNegativeFloat = 1e-4,
        value_weight: NonNegativeFloat = 0.25,
        target_rate: LearningRate = 1e-2,
    ) -> None:
        self.model = model
        self.num_actions = spec.action.dim
        self.value_weight = value_weight
        self.target_rate = target_rate
        self.normalizer = ReplayNormalizer(spec.obs_dim, device)
        self.reward_scale = RewardScale(device, MAX_DRIFT_OF_BINS)
        self.two_hot = TwoHot(BINS, device)
        outputs = self.num_actions + BINS  # policy | value bins
        self.net = StackedMLP(
            1, spec.obs_dim, outputs, generator, hidden, activation, layer_norm=True, device=device
        )
        self.net.zero_outputs(slice(self.num_actions, None))  # the value starts as 0 (equal bins)
        self.target_parameters = copy.deepcopy(self.net.detached())
        self.learning_rate = learning_rate
        self.optimiser = AdamW(self.net.parameters, weight_decay)

    def value(self, state: State) -> Tensor:
        """Return the value [M, P] of imagined states."""
        obs = self.model.decode(state)  # [M, P, O]
        _, value = self._predict(obs.flatten(0, 1))
        return self.reward_scale.restore(self.two_hot.mean(value)).view(obs.shape[:2])

    def prior(self, state: State) -> Tensor:
        """Return the policy's probabilities [M, A], the mean over particles."""
        obs = self.model.decode(state)  # [M, P, O]
        policy, _ = self._predict(obs.flatten(0, 1))
        return policy.softmax(-1).view(*obs.shape[:2], -1).mean(1)

    def _predict(
        self, obs: Tensor, parameters: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map obs [n, O] to logits of policy [n, A] and value [n, bins]."""
        out = self.net(self.normalizer(obs)[None], parameters)[0]
        policy, value = torch.split(out, [self.num_actions, BINS], dim=-1)
        return policy, value

    def refit_scales(self, replay: ReplayBuffer) -> None:
        """Fit the scales of observations and rewards again if they are outdated."""
        self.normalizer.refit(replay)
        self.reward_scale.refit(replay)

    @torch.no_grad()
    def target_value(self, obs: Tensor) -> Tensor:
        """Return the target network's value [n] of obs [n, O]."""
        _, value = self._predict(obs, self.target_parameters)
        return self.reward_scale.restore(self.two_hot.mean(value))

    def learn(self, targets: SearchTargets) -> Tensor:
        """Take one gradient step; return the unweighted losses, in the order of `losses`."""
        policy, value = self._predict(targets.obs[:, 0])
        mask = targets.mask[:, 0]  # [n]
        policy_loss = self._policy_loss(policy, targets.policy[:, 0], mask)
        target_value = self.reward_scale.normalize(targets.value[:, 0])
        value_loss = (targets.value_mask[:, 0] * self.two_hot.loss(value, target_value)).mean()
        loss = policy_loss + self.value_weight * value_loss
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(gradients, self.learning_rate)
        torch._foreach_lerp_(self.target_parameters, self.net.detached(), self.target_rate)
        return torch.stack([policy_loss.detach(), value_loss.detach()])

    def _policy_loss(self, logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the cross entropy of policy and search policy (Silver et al. 2018, equation 1).

        Args:
            logits: of the predicted policy [n, A].
            target: policy that the search recommends [n, A].
            mask: 1 for states that count [n].
        """
        cross_entropy = -(target * F.log_softmax(logits, dim=-1)).sum(-1)  # [n]
        return (mask * cross_entropy).mean()

    def state_dict(self) -> dict[str, Any]:
        """Return network, target network, optimiser and scales."""
        state = {
            "net": self.net.detached(),
            "target_parameters": self.target_parameters,
            "optimiser": self.optimiser.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "reward_scale": self.reward_scale.state_dict(),
        }
        return copy.deepcopy(state)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.net.load(state["net"])
        for own, saved in zip(self.target_parameters, state["target_parameters"], strict=True):
            own.copy_(saved)
        self.optimiser.load_state_dict(state["optimiser"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.reward_scale.load_state_dict(state["reward_scale"])
