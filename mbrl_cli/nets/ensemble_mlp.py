"""Several MLPs of one shape, evaluated together with one batched matrix product per layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mbrl_cli.nets.activations import ACTIVATIONS


class EnsembleMLP(nn.Module):
    """E multilayer perceptrons with stacked weights, each plus a linear map of its input.

    Environments are partly linear (velocity changes position). The linear map learns that part in
    few steps and extrapolates it.

    Tensors have the feature axis before the row axis. The few outputs of the last layer are then
    long contiguous vectors, on which matrix products and element-wise functions are faster.

    Axes: E members, n rows, in/out features.
    """

    def __init__(
        self,
        num_members: int,
        in_dim: int,
        out_dim: int,
        generator: torch.Generator,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.activation = activation
        sizes = [in_dim, *hidden, out_dim]
        self.weights = nn.ParameterList()  # each [E, out, in]
        self.biases = nn.ParameterList()  # each [E, out, 1]
        for fan_in, fan_out in pairwise(sizes):
            self.weights.append(nn.Parameter(torch.empty(num_members, fan_out, fan_in)))
            self.biases.append(nn.Parameter(torch.empty(num_members, fan_out, 1)))
        self.skip = nn.Parameter(torch.empty(num_members, out_dim, in_dim))
        self.reset(generator)
        self.to(device)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights, uniform in +-1/sqrt(fan_in); set the linear map to zero."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.shape[2] ** -0.5
            for parameter in (weight, bias):
                uniform = torch.empty(parameter.shape)
                parameter.copy_(uniform.uniform_(-bound, bound, generator=generator))
        self.skip.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map x [E, in, n] to [E, out, n]."""
        act = ACTIVATIONS[self.activation]
        weights, biases = list(self.weights), list(self.biases)
        hidden = x
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            hidden = act(torch.baddbmm(bias, weight, hidden))  # [E, hidden, n]
        linear = torch.baddbmm(biases[-1], self.skip, x)  # [E, out, n]
        return torch.baddbmm(linear, weights[-1], hidden)
