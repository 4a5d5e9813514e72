"""The perceptron of a world model: every hidden layer is normalised, then bent by a SiLU."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.nets.speed import narrowable


class NormMLP(nn.Module):
    """Map [..., in] to [..., out] through `layers` hidden layers, each with LayerNorm and SiLU."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden: int,
        layers: int,
        generator: torch.Generator,
        zero_output: bool = False,
    ) -> None:
        """Draw the weights; `zero_output` makes the last layer say nothing at first."""
        super().__init__()
        sizes = [in_dim, *[hidden] * layers]
        self.weights = nn.ParameterList(drawn(b, a, generator) for a, b in pairwise(sizes))
        self.scales = nn.ParameterList(torch.ones(size) for size in sizes[1:])
        self.shifts = nn.ParameterList(torch.zeros(size) for size in sizes[1:])
        self.out = drawn(out_dim, sizes[-1], generator)
        if zero_output:
            nn.init.zeros_(self.out)
        self.bias = nn.Parameter(torch.zeros(out_dim))

    @narrowable
    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., in] to [..., out]."""
        if not self.weights:
            return F.linear(x, self.out, self.bias)
        return self.after_first(F.linear(x, self.weights[0]))

    def after_first(self, x: Tensor) -> Tensor:
        """Go on from the first product [..., hidden]: a caller may know parts of it beforehand."""
        in_place = not torch.is_grad_enabled()
        for layer, (scale, shift) in enumerate(zip(self.scales, self.shifts, strict=True)):
            if layer:
                x = F.linear(x, self.weights[layer])
            x = F.silu(F.layer_norm(x, x.shape[-1:], scale, shift), inplace=in_place)
        return F.linear(x, self.out, self.bias)


def drawn(out_dim: int, in_dim: int, generator: torch.Generator) -> nn.Parameter:
    """Return a weight [out, in] that keeps the size of what passes through it."""
    bound = (3.0 / in_dim) ** 0.5
    weight = torch.empty(out_dim, in_dim).uniform_(-bound, bound, generator=generator)
    return nn.Parameter(weight)
