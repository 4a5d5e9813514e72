"""Convolutions between pictures and vectors, each halving or doubling the resolution."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.nets.norm_mlp import drawn
from mbrl_cli.nets.speed import narrowable

SMALLEST = 4  # rows and columns of the coarsest picture


def halvings(size: int) -> int:
    """Return how often a picture of this size is halved; it must be 4 times a power of two."""
    return round(math.log2(size / SMALLEST))


class PictureEncoder(nn.Module):
    """Map pictures [..., C * size * size], flat, to vectors [..., out]."""

    def __init__(
        self, shape: tuple[int, int, int], out_dim: int, depth: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.shape = shape
        depths = [depth * 2**layer for layer in range(halvings(shape[1]))]
        self.kernels = nn.ParameterList(
            _kernel(b, a, a, generator) for a, b in pairwise([shape[0], *depths])
        )
        self.out = drawn(out_dim, depths[-1] * SMALLEST**2, generator)

    @narrowable
    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., C * size * size] to [..., out]."""
        picture = x.reshape(-1, *self.shape)  # [n, C, size, size]
        for kernel in self.kernels:
            picture = F.conv2d(picture, kernel, stride=2, padding=1)
            picture = F.silu(F.group_norm(picture, 1))
        return F.linear(picture.flatten(1), self.out).view(*x.shape[:-1], -1)


class PictureDecoder(nn.Module):
    """Map vectors [..., in] to flat pictures [..., C * size * size]."""

    def __init__(
        self, in_dim: int, shape: tuple[int, int, int], depth: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.depths = [depth * 2**layer for layer in reversed(range(halvings(shape[1])))]
        self.enter = drawn(self.depths[0] * SMALLEST**2, in_dim, generator)
        self.kernels = nn.ParameterList(
            # A kernel of 4 with stride 2 meets every pixel with a quarter of its weights.
            _kernel(a, b, a / 4, generator)
            for a, b in pairwise([*self.depths, shape[0]])
        )

    @narrowable
    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., in] to [..., C * size * size]."""
        coarse = F.linear(x.reshape(-1, x.shape[-1]), self.enter)
        picture = coarse.view(-1, self.depths[0], SMALLEST, SMALLEST)
        for kernel in self.kernels:
            picture = F.silu(F.group_norm(picture, 1))
            picture = F.conv_transpose2d(picture, kernel, stride=2, padding=1)
        return picture.reshape(*x.shape[:-1], -1)


def _kernel(first: int, second: int, inputs: float, generator: torch.Generator) -> nn.Parameter:
    bound = (3.0 / (inputs * 16.0)) ** 0.5
    kernel = torch.empty(first, second, 4, 4).uniform_(-bound, bound, generator=generator)
    return nn.Parameter(kernel)
