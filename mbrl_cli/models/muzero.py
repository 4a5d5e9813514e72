"""A latent model that only has to be right about reward, value and policy.

Sources: Schrittwieser et al. 2020 (MuZero): representation, dynamics and prediction, unrolled along
real actions. Ye et al. 2021 (EfficientZero, section 4.1): imagined latents are drawn to those of
the observations that came. Unlike there, the end of the task is a head of its own, so that nothing
has to be learned about what comes after it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.errors import UserError
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
    Step,
)

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env

BINS = 127  # of reward and value


class MuZero(Model):
    """State: {"latent" [B, D], "policy" [B, A], "value" [B, 1]}; rows have a particle axis of 1.

    What the search asks of a node is computed with the step that leads there and kept in its state.
    It is trained by an agent that searches with it (`learn`), never by `fit`.

    Axes: B environments, M rows, D latent, A choices, n sequences, K steps of each.
    """

    learns_from = "search"
    losses = ("policy", "value", "reward", "continues", "consistency")

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        latent: Count,
        hidden: list[Count],
        activation: Activation,
        unroll_steps: Count,
        learning_rate: LearningRate,
        weight_decay: NonNegativeFloat,
        value_weight: NonNegativeFloat,
        consistency: NonNegativeFloat,
        target_rate: LearningRate,
    ) -> None:
        super().__init__(spec, device)
        self.unroll_steps = unroll_steps
        self.value_weight = value_weight
        self.consistency = consistency
        self.target_rate = target_rate
        self.latent = latent
        self.normalizer = Normalizer(spec.obs_dim, device)
        self.two_hot = TwoHot(BINS, device)

        def net(inputs: int, outputs: int) -> StackedMLP:
            return StackedMLP(
                1, inputs, outputs, generator, hidden, activation, layer_norm=True, device=device
            )

        self.encoder = net(spec.obs_dim, latent)
        self.dynamics = net(latent + spec.action.dim, latent + BINS + 1)  # | reward | goes on
        self.judge = net(latent, spec.action.dim + BINS)  # policy | value
        # The outermost bins stand for thousands: equal weights, which mean 0, are where to start.
        self.dynamics.zero_outputs(slice(latent, latent + BINS))
        self.judge.zero_outputs(slice(spec.action.dim, None))
        self.nets = (self.encoder, self.dynamics, self.judge)
        self.targets = [copy.deepcopy(n.detached()) for n in (self.encoder, self.judge)]
        self.learning_rate = learning_rate
        every = [parameter for n in self.nets for parameter in n.parameters]
        self.optimiser = AdamW(every, weight_decay)

    # --- imagining ----------------------------------------------------------------------------

    def initial(self, num_rows: int) -> State:
        """Return zeros; a latent holds nothing from before the observation."""
        sizes = {"latent": self.latent, "policy": self.spec.action.dim, "value": 1}
        return {key: torch.zeros(num_rows, size, device=self.device) for key, size in sizes.items()}

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Encode obs [B, O]."""
        return self._judged(self._encoded(obs.to(self.device)))

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step of action [M, A]; see `Model.step`."""
        each = action if action.dim() == 2 else action[:, 0]
        latent, reward, goes_on = self._moved(state["latent"][:, 0], each)
        rows = {key: value[:, None] for key, value in self._judged(latent).items()}
        return Step(rows, self.two_hot.mean(reward)[:, None], goes_on.sigmoid()[:, None])

    def decode(self, state: State) -> Tensor:
        """Refuse: a latent state is no observation."""
        raise UserError("model=muzero: imagines no observations; use a model that does")

    def value(self, state: State) -> Tensor:
        """Return the value [M, 1] of imagined states."""
        return state["value"][..., 0]

    def prior(self, state: State) -> Tensor:
        """Return the policy's probabilities [M, A] in imagined states."""
        return state["policy"][:, 0]

    def _encoded(self, obs: Tensor, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Map obs [n, O] to latents [n, D]."""
        out = self.encoder(self.normalizer(obs)[None], parameters)[0]
        return F.layer_norm(out, out.shape[-1:])

    def _moved(self, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map latents [n, D] and actions [n, A] to the next ones, logits of reward and going on."""
        out = self.dynamics(torch.cat([latent, action], dim=-1)[None])[0]
        change, reward, goes_on = torch.split(out, [self.latent, BINS, 1], dim=-1)
        return F.layer_norm(latent + change, change.shape[-1:]), reward, goes_on[:, 0]

    def _judged(self, latent: Tensor) -> State:
        policy, value = self._heads(latent)
        return {
            "latent": latent,
            "policy": policy.softmax(-1),
            "value": self.two_hot.mean(value)[:, None],
        }

    def _heads(
        self, latent: Tensor, parameters: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of the policy [n, A] and of the value [n, bins]."""
        out = self.judge(latent[None], parameters)[0]
        policy, value = torch.split(out, [self.spec.action.dim, BINS], dim=-1)
        return policy, value

    # --- learning -----------------------------------------------------------------------------

    def fit_normalizer(self, obs: Tensor) -> None:
        """Take the scale of the observations [n, O] seen so far."""
        self.normalizer.fit(obs)

    @torch.no_grad()
    def target_value(self, obs: Tensor) -> Tensor:
        """Return what the slowly following networks think that obs [n, O] are worth [n]."""
        encoder, judge = self.targets
        return self.two_hot.mean(self._heads(self._encoded(obs, encoder), judge)[1])

    def learn(self, wanted: SearchTargets) -> Tensor:
        """Take one gradient step; return the `losses`."""
        steps = wanted.action.shape[1]
        with torch.no_grad():
            seen = self._encoded(wanted.obs.flatten(0, 1), self.targets[0])
            seen = seen.view(*wanted.obs.shape[:2], -1)  # [n, K+1, D]
        latents, moves = [self._encoded(wanted.obs[:, 0])], []
        for k in range(steps):
            # Half of the gradient: the dynamics are used many times, the encoder once.
            before = torch.lerp(latents[k], latents[k].detach(), 0.5 if k else 0.0)
            latent, *move = self._moved(before, wanted.action[:, k])
            latents.append(latent)
            moves.append(move)
        latent = torch.stack(latents, dim=1)  # [n, K+1, D]
        reward, goes_on = (torch.stack(heads, dim=1) for heads in zip(*moves, strict=True))
        policy, value = (
            head.view(*latent.shape[:2], -1) for head in self._heads(latent.flatten(0, 1))
        )
        imagined = wanted.inside / (steps * len(wanted.inside))  # [n, K+1]
        judged = imagined.clone()  # as much for all imagined states as for the one that was seen
        judged[:, 0] *= steps
        log_policy = F.log_softmax(policy, dim=-1)
        ends = F.binary_cross_entropy_with_logits(
            goes_on, 1.0 - wanted.terminated, reduction="none"
        )
        apart = 1.0 - F.cosine_similarity(latent[:, 1:], seen[:, 1:], dim=-1)
        total = {
            "policy": -(judged * (wanted.policy * log_policy).sum(-1)).sum(),
            "value": (judged * self.two_hot.loss(value, wanted.value)).sum(),
            "reward": (imagined[:, :-1] * self.two_hot.loss(reward, wanted.reward)).sum(),
            "continues": (imagined[:, :-1] * ends).sum(),
            "consistency": (imagined[:, 1:] * apart).sum(),
        }
        weights = {"value": self.value_weight, "consistency": self.consistency}
        loss = torch.stack([weights.get(name, 1.0) * value for name, value in total.items()]).sum()
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(gradients, self.learning_rate)
        for targets, net in zip(self.targets, (self.encoder, self.judge), strict=True):
            torch._foreach_lerp_(targets, net.detached(), self.target_rate)
        self.is_fitted = True
        return torch.stack([value.detach() for value in total.values()])

    def state_dict(self) -> dict[str, Any]:
        """Return networks, their followers, the optimiser and the observations' scale."""
        state = {
            "nets": [net.detached() for net in self.nets],
            "targets": self.targets,
            "optimiser": self.optimiser.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "is_fitted": self.is_fitted,
        }
        return copy.deepcopy(state)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for net, saved in zip(self.nets, state["nets"], strict=True):
            net.load(saved)
        for own, saved in zip(self.targets, state["targets"], strict=True):
            for parameter, value in zip(own, saved, strict=True):
                parameter.copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.is_fitted = state["is_fitted"]
