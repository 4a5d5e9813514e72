"""The multilayer perceptron of DreamerV3: every hidden layer is linear, LayerNorm, SiLU."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.nets.initialization import uniform_weight
from mbrl_cli.nets.mixed_precision import mixed_precision


class NormMLP(nn.Module):
    """Map [..., in] to [..., out] through `layers` hidden layers of width `hidden`.

    Hidden layers have no bias, because LayerNorm shifts their outputs.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        generator: torch.Generator,
        hidden: int = 64,
        layers: int = 1,
        zero_output: bool = False,
    ) -> None:
        """Draw the initial weights; with `zero_output` the initial output is zero."""
        super().__init__()
        sizes = [in_dim, *[hidden] * layers]
        self.weights = nn.ParameterList(
            uniform_weight(fan_out, fan_in, generator) for fan_in, fan_out in pairwise(sizes)
        )
        self.scales = nn.ParameterList(torch.ones(size) for size in sizes[1:])
        self.shifts = nn.ParameterList(torch.zeros(size) for size in sizes[1:])
        self.out = uniform_weight(out_dim, sizes[-1], generator)
        if zero_output:
            nn.init.zeros_(self.out)
        self.bias = nn.Parameter(torch.zeros(out_dim))

    @mixed_precision
    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., in] to [..., out]."""
        in_place = not torch.is_grad_enabled()  # autograd needs the input of SiLU
        for weight, scale, shift in zip(self.weights, self.scales, self.shifts, strict=True):
            x = F.linear(x, weight)  # [..., hidden]
            x = F.silu(F.layer_norm(x, x.shape[-1:], scale, shift), inplace=in_place)
        return F.linear(x, self.out, self.bias)
