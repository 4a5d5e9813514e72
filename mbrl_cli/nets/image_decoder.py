"""Convolutional decoder of images; every layer doubles the resolution."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.nets.image_encoder import COARSEST_SIZE, num_halvings
from mbrl_cli.nets.initialization import uniform_kernel, uniform_weight
from mbrl_cli.nets.mixed_precision import mixed_precision


class ImageDecoder(nn.Module):
    """Map vectors [..., in] to flat images [..., C * S * S]; `shape` is (C, S, S).

    The last hidden layer has `depth` channels; each one before it has twice as many.
    """

    def __init__(
        self,
        in_dim: int,
        shape: tuple[int, int, int],
        generator: torch.Generator,
        depth: int = 16,
    ) -> None:
        super().__init__()
        self.depths = [depth * 2**layer for layer in reversed(range(num_halvings(shape[1])))]
        self.project = uniform_weight(self.depths[0] * COARSEST_SIZE**2, in_dim, generator)
        self.kernels = nn.ParameterList(
            # With stride 2 an output pixel receives a quarter of a kernel's 16 entries.
            uniform_kernel(channels_in, channels_out, channels_in / 4, generator)
            for channels_in, channels_out in pairwise([*self.depths, shape[0]])
        )

    @mixed_precision
    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., in] to [..., C * S * S]."""
        coarse = F.linear(x.reshape(-1, x.shape[-1]), self.project)
        image = coarse.view(-1, self.depths[0], COARSEST_SIZE, COARSEST_SIZE)  # [n, C', 4, 4]
        for kernel in self.kernels:
            image = F.silu(F.group_norm(image, 1))
            image = F.conv_transpose2d(image, kernel, stride=2, padding=1)  # twice the resolution
        return image.reshape(*x.shape[:-1], -1)  # [..., C * S * S]
