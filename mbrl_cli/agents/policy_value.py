"""A policy and a value of observations, for models that have none of their own (AlphaZero)."""

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
from mbrl_cli.replay.normalizer import Normalizer
from mbrl_cli.types import (
    Activation,
    Count,
    EnvSpec,
    LearningRate,
    NonNegativeFloat,
    State,
)

BINS = 81  # of the value


class PolicyValue:
    """One network that judges what a model imagines, trained on what searches found.

    Axes: M rows, P particles, O obs_dim, A choices, n rows of a batch.
    """

    unroll_steps = 0
    losses = ("policy", "value")

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        hidden: list[Count],
        activation: Activation,
        learning_rate: LearningRate,
        weight_decay: NonNegativeFloat,
        value_weight: NonNegativeFloat,
        target_rate: LearningRate,
    ) -> None:
        self.model = model
        self.num_choices = spec.action.dim
        self.value_weight = value_weight
        self.target_rate = target_rate
        self.normalizer = Normalizer(spec.obs_dim, device)
        self.two_hot = TwoHot(BINS, device)
        outputs = self.num_choices + BINS
        self.net = StackedMLP(
            1, spec.obs_dim, outputs, generator, hidden, activation, layer_norm=True, device=device
        )
        self.net.zero_outputs(slice(self.num_choices, None))  # equal weights of the bins mean 0
        self.targets = copy.deepcopy(self.net.detached())
        self.learning_rate = learning_rate
        self.optimiser = AdamW(self.net.parameters, weight_decay)

    def value(self, state: State) -> Tensor:
        """Return the value [M, P] of imagined states."""
        obs = self.model.decode(state)  # [M, P, O]
        return self.two_hot.mean(self._heads(obs.flatten(0, 1))[1]).view(obs.shape[:2])

    def prior(self, state: State) -> Tensor:
        """Return the policy's probabilities [M, A], the mean over particles."""
        obs = self.model.decode(state)
        chance = self._heads(obs.flatten(0, 1))[0].softmax(-1)
        return chance.view(*obs.shape[:2], -1).mean(1)

    def _heads(
        self, obs: Tensor, parameters: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of the policy [n, A] and of the value [n, bins]."""
        out = self.net(self.normalizer(obs)[None], parameters)[0]
        policy, value = torch.split(out, [self.num_choices, BINS], dim=-1)
        return policy, value

    def fit_normalizer(self, obs: Tensor) -> None:
        """Take the scale of the observations [n, O] seen so far."""
        self.normalizer.fit(obs)

    @torch.no_grad()
    def target_value(self, obs: Tensor) -> Tensor:
        """Return what the slowly following network thinks that obs [n, O] are worth [n]."""
        return self.two_hot.mean(self._heads(obs, self.targets)[1])

    def learn(self, wanted: SearchTargets) -> Tensor:
        """Take one gradient step; return the `losses`."""
        policy, value = self._heads(wanted.obs[:, 0])
        inside = wanted.inside[:, 0]
        policy_loss = -(wanted.policy[:, 0] * F.log_softmax(policy, dim=-1)).sum(-1)
        mean_policy_loss = (inside * policy_loss).mean()
        value_loss = (inside * self.two_hot.loss(value, wanted.value[:, 0])).mean()
        loss = mean_policy_loss + self.value_weight * value_loss
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(gradients, self.learning_rate)
        torch._foreach_lerp_(self.targets, self.net.detached(), self.target_rate)
        return torch.stack([mean_policy_loss.detach(), value_loss.detach()])

    def state_dict(self) -> dict[str, Any]:
        """Return the network, its follower, the optimiser and the observations' scale."""
        state = {
            "net": self.net.detached(),
            "targets": self.targets,
            "optimiser": self.optimiser.state_dict(),
            "normalizer": self.normalizer.state_dict(),
        }
        return copy.deepcopy(state)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.net.load(state["net"])
        for own, saved in zip(self.targets, state["targets"], strict=True):
            own.copy_(saved)
        self.optimiser.load_state_dict(state["optimiser"])
        self.normalizer.load_state_dict(state["normalizer"])
