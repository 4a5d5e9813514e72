"""The policy of TD-MPC2: proposes plans, and acts after them and in TD targets.

Source: Hansen et al. 2024 (TD-MPC2), section 3.1, "Policy objective". For a discrete action the
expectation over the policy is a sum over the choices instead of a sample.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mbrl_cli.agents.categorical import Categorical
from mbrl_cli.agents.squashed_gaussian import SquashedGaussian
from mbrl_cli.agents.value_range import ValueRange
from mbrl_cli.models.tdmpc2_losses import policy_loss
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.gradient_clipping import clip_gradients
from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.types import ActionSpec

LOG_STD_RANGE = (-10.0, 2.0)  # of continuous actions before tanh
STATISTICS = ("actor_loss", "entropy", "value", "value_range")

# (latents [n, D], actions [n, A] or None for all choices) -> values [n] or [n, A]
Critic = Callable[[Tensor, Tensor | None], Tensor]


class PolicyPrior:
    """Distribution of actions at latents: a squashed Gaussian, or a categorical distribution.

    Axes: n rows, D latent, A action dim (discrete: choices).

    Args:
        action: how actions are encoded; at most one discrete component.
        latent_dim: D.
        hidden: width of both hidden layers.
        generator: initial weights.
        device: where the network lives.
        learning_rate: of AdamW.
        entropy_scale: weight of the entropy; values are scaled to a range of 1.
        max_grad_norm: norm at which gradients are clipped.
    """

    def __init__(
        self,
        action: ActionSpec,
        latent_dim: int,
        hidden: int,
        generator: torch.Generator,
        device: torch.device,
        learning_rate: float,
        entropy_scale: float,
        max_grad_norm: float,
    ) -> None:
        self.is_discrete = action.kind == "discrete"
        self.distribution: SquashedGaussian | Categorical
        self.distribution = (Categorical if self.is_discrete else SquashedGaussian)(action.dim)
        self.network = StackedMLP(
            1, latent_dim, self.distribution.num_outputs, generator, (hidden,) * 2, "silu",
            layer_norm=True, device=device,
        )  # fmt: skip
        self.noise_dim = self.distribution.noise_dim  # 0 for a discrete action
        self.network.zero_outputs(slice(None))
        self.optimiser = AdamW(self.network.parameters)
        self.value_range = ValueRange(device)
        self.learning_rate = learning_rate
        self.entropy_scale = entropy_scale
        self.max_grad_norm = max_grad_norm

    def act(self, latent: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return samples [n, A] of the policy at latent [n, D]; without a generator its modes."""
        out = self._outputs(latent)
        if generator is None:
            return self.distribution.mode(out)
        return self.distribution.sample(out, generator)

    def probabilities(self, latent: Tensor) -> Tensor:
        """Return the probabilities [n, A] of the choices of a discrete action."""
        return self._outputs(latent).softmax(-1)

    def value(self, latent: Tensor, critic: Critic, noise: Tensor | None = None) -> Tensor:
        """Return the critic's value [n] of the policy at latent [n, D].

        For a discrete action it is the expectation over the choices. For continuous actions it is
        the value of a sample with the normal random numbers [n, A], or of the mode without them.
        """
        if self.is_discrete:
            return (self.probabilities(latent) * critic(latent, None)).sum(-1)
        if noise is None or isinstance(self.distribution, Categorical):
            return critic(latent, self.act(latent, None))
        return critic(latent, self.distribution.sample_with_noise(self._outputs(latent), noise))

    def learn(self, latent: Tensor, weight: Tensor, critic: Critic, noise: Tensor) -> Tensor:
        """Take one gradient step towards higher values.

        Args:
            latent: imagined states [H + 1, n, D], without gradient.
            weight: of the states [H + 1, n].
            critic: differentiable in the action.
            noise: normal random numbers [(H + 1) * n, `noise_dim`] of the samples.

        Returns:
            the `STATISTICS`.
        """
        value, entropy = self._value_and_entropy(latent.flatten(0, 1), critic, noise)
        value, entropy = value.view(weight.shape), entropy.view(weight.shape)
        self.value_range.update(value[0].detach())
        loss = policy_loss(value, entropy, weight, self.value_range.range, self.entropy_scale)
        gradients = torch.autograd.grad(loss, self.optimiser.parameters)
        self.optimiser.step(clip_gradients(gradients, self.max_grad_norm), self.learning_rate)
        statistics = loss, entropy[0].mean(), value[0].mean(), self.value_range.range
        return torch.stack([number.detach() for number in statistics])

    def _value_and_entropy(
        self, latent: Tensor, critic: Critic, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the value and the entropy [n] of the policy, differentiable in its weights."""
        out = self._outputs(latent)
        if isinstance(self.distribution, Categorical):
            return self.distribution.expectation_and_entropy(out, critic(latent, None))
        action, log_density = self.distribution.sample_with_log_density(out, noise)
        return critic(latent, action), -log_density

    def _outputs(self, latent: Tensor) -> Tensor:
        """Return the distribution's parameters for latent [n, D]."""
        out = self.network(latent[None])[0]
        if self.is_discrete:
            return out
        mean, raw = out.chunk(2, -1)
        low, high = LOG_STD_RANGE
        return torch.cat([mean, low + 0.5 * (high - low) * (raw.tanh() + 1.0)], -1)

    def state_dict(self) -> dict[str, Any]:
        """Return network, optimiser and range of values."""
        state = {
            "network": self.network.detached(),
            "optimiser": self.optimiser.state_dict(),
            "value_range": self.value_range.range,
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.network.load(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.value_range.range.copy_(state["value_range"])
