"""The networks of an implicit world model (TD-MPC2), and their sizes.

"Implicit": there is no decoder. The latent must predict itself, rewards, terminations and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mbrl_cli.nets.image_encoder import ImageEncoder
from mbrl_cli.nets.sim_norm import SimNorm
from mbrl_cli.nets.stacked_mlp import StackedMLP

SizeName = Literal["tiny", "small", "5M"]


@dataclass(frozen=True)
class Size:
    """Widths of an implicit world model."""

    latent: int  # D, entries of the latent
    encoder: int  # width of the encoder's hidden layer
    depth: int  # images: channels at half the resolution; doubled with each further halving
    hidden: int  # width of both hidden layers of all other networks
    critics: int  # E


SIZES: dict[SizeName, Size] = {
    "tiny": Size(latent=64, encoder=128, depth=16, hidden=128, critics=2),
    "small": Size(latent=128, encoder=256, depth=16, hidden=384, critics=2),
    "5M": Size(latent=512, encoder=256, depth=32, hidden=512, critics=5),
}


class ImplicitWorldModel:
    """Encoder, latent dynamics, reward, continuation and E critics.

    Continuous actions are an input of the critics. For a discrete action a critic has outputs for
    each choice, so that all choices cost one evaluation.

    Axes: n rows, O obs_dim, D latent, A action dim (discrete: choices), E critics, K bins.

    Attributes:
        size: widths.
        encoder_parameters: those of the encoder, which learns at a lower rate.
        other_parameters: all others.
        critics: the critics' network; its parameters are a part of `other_parameters`.
    """

    def __init__(
        self,
        obs_dim: int,
        obs_shape: tuple[int, int, int] | None,
        action_dim: int,
        is_discrete: bool,
        num_bins: int,
        generator: torch.Generator,
        size: SizeName = "tiny",
        device: torch.device | str = "cpu",
    ) -> None:
        self.size = SIZES[size]
        self.num_bins = num_bins
        self.choices = action_dim if is_discrete else 0
        latent, hidden = self.size.latent, (self.size.hidden,) * 2

        def net(inputs: int, outputs: int, hidden: Sequence[int], members: int = 1) -> StackedMLP:
            return StackedMLP(
                members, inputs, outputs, generator, hidden, "silu", layer_norm=True, device=device
            )

        self._encoder: StackedMLP | ImageEncoder
        if obs_shape is None:
            self._encoder = net(obs_dim, latent, (self.size.encoder,))
            encoder_parameters = self._encoder.parameters
        else:
            self._encoder = ImageEncoder(obs_shape, latent, generator, self.size.depth).to(device)
            encoder_parameters = list(self._encoder.parameters())
        self._dynamics = net(latent + action_dim, latent, hidden)
        self._reward = net(latent + action_dim, num_bins, hidden)
        self._continues = net(latent, 1, hidden)
        inputs, outputs = (latent, action_dim) if self.choices else (latent + action_dim, 1)
        self.critics = net(inputs, outputs * num_bins, hidden, self.size.critics)
        self._encoder_norm, self._dynamics_norm = SimNorm(latent, device), SimNorm(latent, device)
        for predictor in (self._reward, self.critics):  # equal bins: reward and values start as 0
            predictor.zero_outputs(slice(None))
        self.encoder_parameters = [*encoder_parameters, *self._encoder_norm.parameters]
        networks = (self._dynamics, self._reward, self._continues, self.critics)
        self.other_parameters = [parameter for n in networks for parameter in n.parameters]
        self.other_parameters += self._dynamics_norm.parameters

    def encode(self, obs: Tensor) -> Tensor:
        """Map normalized obs [n, O] to latents [n, D]: h in the paper."""
        return self._encoder_norm(self._encoder(obs[None])[0])

    def next_latent(self, latent_action: Tensor) -> Tensor:
        """Map [latent | action] [n, D + A] to the next latents [n, D]: d in the paper."""
        return self._dynamics_norm(self._dynamics(latent_action[None])[0])

    def reward_logits(self, latent_action: Tensor) -> Tensor:
        """Map [latent | action] [n, D + A] to logits of the reward [n, K]: R in the paper."""
        return self._reward(latent_action[None])[0]

    def continue_logits(self, next_latent: Tensor) -> Tensor:
        """Map latents [n, D] to logits of the probability that the task continues there [n]."""
        return self._continues(next_latent[None])[0, :, 0]

    def critic_logits(
        self, latent: Tensor, action: Tensor | None, parameters: Sequence[Tensor]
    ) -> Tensor:
        """Return logits of the values of actions: Q in the paper.

        Args:
            latent: [n, D].
            action: [n, A]; None: all choices of a discrete action.
            parameters: of the critics, or of their slow copies.

        Returns:
            [E, n, K], or [E, n, A, K] for all choices.
        """
        members = len(parameters[0])
        if not self.choices:
            assert action is not None
            inputs = torch.cat([latent, action], -1)
            return self.critics(inputs.expand(members, -1, -1), parameters)
        logits = self.critics(latent.expand(members, -1, -1), parameters)
        logits = logits.view(members, -1, self.choices, self.num_bins)  # [E, n, A, K]
        return logits if action is None else (logits * action[..., None]).sum(-2)


def chosen_critics(parameters: Sequence[Tensor], critics: Tensor) -> Sequence[Tensor]:
    """Return the parameters of the chosen critics [2]; without a copy if there are only two."""
    if len(parameters[0]) == len(critics):
        return parameters
    return [parameter[critics] for parameter in parameters]
