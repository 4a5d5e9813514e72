"""Stacked residual networks, as in SimBa (Lee et al. 2024, "SimBa: Simplicity Bias")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.nets.activations import ACTIVATIONS
from mbrl_cli.nets.mixed_precision import Precision
from mbrl_cli.nets.stacked_network import StackedNetwork

EXPANSION = 4  # width of a block's inner layer, in widths of the network


class StackedResidualMLP(StackedNetwork):
    """E networks: a linear layer, residual blocks, LayerNorm and a linear output layer.

    A block adds `linear(activation(linear(LayerNorm(x))))` to its input x. The path without blocks
    is linear up to the last LayerNorm, so simple functions are learned first. LayerNorm has no
    scale and shift, because a linear layer follows.
    """

    def __init__(
        self,
        num_members: int,
        in_dim: int,
        out_dim: int,
        generator: torch.Generator,
        width: int = 128,
        num_blocks: int = 1,
        activation: str = "relu",
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        inner = EXPANSION * width
        block = [(width, inner), (inner, width)]
        layers = [(in_dim, width), *block * num_blocks, (width, out_dim)]
        super().__init__(num_members, layers, generator, device, precision)
        self.activation = ACTIVATIONS[activation]

    def hidden_layers(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Map x [E, n, in] to [E, n, width]."""
        weight, bias = weights[:2]
        x = torch.baddbmm(bias, x, weight)
        for index in range(2, len(weights), 4):
            first, first_bias, second, second_bias = weights[index : index + 4]
            inner = torch.baddbmm(first_bias, F.layer_norm(x, x.shape[-1:]), first)  # [E, n, inner]
            x = x + torch.baddbmm(second_bias, self.activation(inner), second)
        return F.layer_norm(x, x.shape[-1:])
