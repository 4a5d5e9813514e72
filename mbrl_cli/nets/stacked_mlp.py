"""Stacked multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.nets.activations import ACTIVATIONS
from mbrl_cli.nets.mixed_precision import Precision
from mbrl_cli.nets.stacked_network import StackedNetwork


class StackedMLP(StackedNetwork):
    """E multilayer perceptrons, optionally with LayerNorm before each activation."""

    def __init__(
        self,
        num_members: int,
        in_dim: int,
        out_dim: int,
        generator: torch.Generator,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        layer_norm: bool = False,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        layers = list(pairwise([in_dim, *hidden, out_dim]))
        super().__init__(num_members, layers, generator, device, precision)
        self.activation = ACTIVATIONS[activation]
        self.layer_norm = layer_norm

    def hidden_layers(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Map x [E, n, in] to [E, n, hidden]."""
        for weight, bias in zip(weights[::2], weights[1::2], strict=True):
            x = torch.baddbmm(bias, x, weight)  # [E, n, hidden]
            if self.layer_norm:
                x = F.layer_norm(x, x.shape[-1:])  # no scale and shift: the next layer learns them
            x = self.activation(x)
        return x
