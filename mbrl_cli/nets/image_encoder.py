"""Convolutional encoder of images; every layer halves the resolution."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.nets.initialization import uniform_kernel, uniform_weight
from mbrl_cli.nets.mixed_precision import mixed_precision

COARSEST_SIZE = 4  # rows and columns of the coarsest feature map


def num_halvings(size: int) -> int:
    """Return how often `size` must be halved to reach `COARSEST_SIZE`.

    `size` must be `COARSEST_SIZE` times a power of two.
    """
    return round(math.log2(size / COARSEST_SIZE))


class ImageEncoder(nn.Module):
    """Map flat images [..., C * S * S] to vectors [..., out]; `shape` is (C, S, S).

    The first layer has `depth` channels; each further one has twice as many.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        out_dim: int,
        generator: torch.Generator,
        depth: int = 16,
    ) -> None:
        super().__init__()
        self.shape = shape
        depths = [depth * 2**layer for layer in range(num_halvings(shape[1]))]
        self.kernels = nn.ParameterList(
            uniform_kernel(channels_out, channels_in, channels_in, generator)
            for channels_in, channels_out in pairwise([shape[0], *depths])
        )
        self.out = uniform_weight(out_dim, depths[-1] * COARSEST_SIZE**2, generator)

    @mixed_precision
    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., C * S * S] to [..., out]."""
        image = x.reshape(-1, *self.shape)  # [n, C, S, S]
        for kernel in self.kernels:
            image = F.conv2d(image, kernel, stride=2, padding=1)  # [n, 2 C, S / 2, S / 2]
            image = F.silu(F.group_norm(image, 1))
        return F.linear(image.flatten(1), self.out).view(*x.shape[:-1], -1)  # [..., out]
