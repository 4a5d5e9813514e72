"""The networks of a recurrent state-space model, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from mbrl_cli.nets.categorical_latents import CategoricalLatents
from mbrl_cli.nets.gaussian_latents import GaussianLatents
from mbrl_cli.nets.image_decoder import ImageDecoder
from mbrl_cli.nets.image_encoder import ImageEncoder
from mbrl_cli.nets.latent_dynamics import LatentDynamics
from mbrl_cli.nets.latents import Latents
from mbrl_cli.nets.norm_mlp import NormMLP

LatentKind = Literal["categorical", "gaussian"]
SizeName = Literal["tiny", "small", "medium", "large"]


@dataclass(frozen=True)
class Size:
    """Widths of a world model."""

    deter: int  # entries of the deterministic part of the state
    variables: int  # categorical latents: variables
    classes: int  # categorical latents: classes of each; there are 2 * classes Gaussian latents
    hidden: int  # width of every hidden layer
    layers: int  # hidden layers of encoder, decoder and heads
    depth: int  # images: channels at half the resolution; doubled with each further halving


SIZES: dict[SizeName, Size] = {
    "tiny": Size(deter=128, variables=8, classes=8, hidden=64, layers=1, depth=16),
    "small": Size(deter=256, variables=16, classes=16, hidden=128, layers=2, depth=16),
    "medium": Size(deter=512, variables=32, classes=32, hidden=256, layers=2, depth=32),
    "large": Size(deter=1024, variables=32, classes=32, hidden=512, layers=3, depth=48),
}


class WorldModel(nn.Module):
    """Encoder, latent dynamics, decoder, and the heads for reward and continuation.

    A feature is [deter | stoch]; decoder and heads map features.
    """

    def __init__(
        self,
        obs_dim: int,
        obs_shape: tuple[int, int, int] | None,
        action_dim: int,
        generator: torch.Generator,
        size: SizeName = "tiny",
        latents: LatentKind = "categorical",
        recurrent: bool = True,
        unimix: float = 0.01,
        num_bins: int = 41,
    ) -> None:
        super().__init__()
        widths = SIZES[size]
        hidden, layers = widths.hidden, widths.layers
        kind: Latents = GaussianLatents(2 * widths.classes)
        if latents == "categorical":
            kind = CategoricalLatents(widths.variables, widths.classes, unimix)
        self.feature_dim = widths.deter + kind.size
        # The encoder's output has the width of a hidden layer.
        self.encoder: nn.Module = NormMLP(obs_dim, hidden, generator, hidden, layers)
        self.dynamics = LatentDynamics(
            kind, hidden, action_dim, generator, widths.deter, hidden, recurrent
        )
        self.decoder: nn.Module = NormMLP(self.feature_dim, obs_dim, generator, hidden, layers)
        if obs_shape is not None:
            self.encoder = ImageEncoder(obs_shape, hidden, generator, widths.depth)
            self.decoder = ImageDecoder(self.feature_dim, obs_shape, generator, widths.depth)
        self.reward_head = NormMLP(
            self.feature_dim, num_bins, generator, hidden, layers, zero_output=True
        )
        self.continue_head = NormMLP(self.feature_dim, 1, generator, hidden, layers)
