"""Uniform initial weights, scaled so that a layer preserves the variance of its input."""

from __future__ import annotations

import torch
from torch import nn


def uniform_weight(out_dim: int, in_dim: int, generator: torch.Generator) -> nn.Parameter:
    """Return a weight [out, in], uniform with variance 1 / in."""
    return _uniform((out_dim, in_dim), in_dim, generator)


def uniform_kernel(
    dim_0: int, dim_1: int, fan_in: float, generator: torch.Generator
) -> nn.Parameter:
    """Return a 4 x 4 convolution kernel [dim_0, dim_1, 4, 4], uniform with variance 1 / inputs.

    `fan_in` counts the channels that contribute to an output; each contributes 16 entries.
    """
    return _uniform((dim_0, dim_1, 4, 4), fan_in * 16.0, generator)


def _uniform(shape: tuple[int, ...], num_inputs: float, generator: torch.Generator) -> nn.Parameter:
    bound = (3.0 / num_inputs) ** 0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
