"""The networks of a recurrent state-space model: encoder, dynamics, decoder, heads; their sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mbrl_cli.nets.categorical_latents import CategoricalLatents
from mbrl_cli.nets.gaussian_latents import GaussianLatents
from mbrl_cli.nets.latent_dynamics import LatentDynamics, Latents
from mbrl_cli.nets.norm_mlp import NormMLP
from mbrl_cli.nets.pictures import PictureDecoder, PictureEncoder


@dataclass(frozen=True)
class Size:
    """Widths of a world model."""

    deter: int  # recurrent part of the state
    variables: int  # categorical latents; Gaussian ones are as many as `classes` times two
    classes: int  # of each
    hidden: int  # of every layer
    layers: int  # hidden layers of encoder, decoder and heads
    depth: int  # of pictures, channels after the first halving; doubled at each other


SIZES = {
    "tiny": Size(deter=128, variables=8, classes=8, hidden=64, layers=1, depth=16),
    "small": Size(deter=256, variables=16, classes=16, hidden=128, layers=2, depth=16),
    "medium": Size(deter=512, variables=32, classes=32, hidden=256, layers=2, depth=32),
    "large": Size(deter=1024, variables=32, classes=32, hidden=512, layers=3, depth=48),
}


class WorldModel(nn.Module):
    """What maps observations to latent states and latent states to all that is predicted."""

    def __init__(
        self,
        obs_dim: int,
        obs_shape: tuple[int, int, int] | None,
        action_dim: int,
        size: Size,
        latents: str,
        recurrent: bool,
        unimix: float,
        num_bins: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        kind: Latents = GaussianLatents(2 * size.classes)
        if latents == "categorical":
            kind = CategoricalLatents(size.variables, size.classes, unimix)
        hidden, layers = size.hidden, size.layers
        feature = size.deter + kind.size
        # The encoder's last layer is a hidden one: nothing is asked of it but to be read.
        self.encoder: nn.Module = NormMLP(obs_dim, hidden, hidden, layers, generator)
        self.dynamics = LatentDynamics(
            kind, hidden, action_dim, size.deter, hidden, recurrent, generator
        )
        self.decoder: nn.Module = NormMLP(feature, obs_dim, hidden, layers, generator)
        if obs_shape is not None:
            self.encoder = PictureEncoder(obs_shape, hidden, size.depth, generator)
            self.decoder = PictureDecoder(feature, obs_shape, size.depth, generator)
        self.reward = NormMLP(feature, num_bins, hidden, layers, generator, zero_output=True)
        self.continues = NormMLP(feature, 1, hidden, layers, generator)
