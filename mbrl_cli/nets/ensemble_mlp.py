"""Several MLPs of one shape, evaluated together: one batched matrix product a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# In-place forms: the input is always the fresh result of a matrix product.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": lambda x: F.silu(x, inplace=True),
    "relu": lambda x: F.relu(x, inplace=True),
    "tanh": torch.tanh,
    "elu": lambda x: F.elu(x, inplace=True),
}


class EnsembleMLP(nn.Module):
    """E multilayer perceptrons with stacked weights and a linear path beside them.

    Much of what a model of an environment has to learn is linear (positions move with
    velocities); the linear path learns that part at once and extrapolates it.

    Axes: E members, n rows, in/out features.
    """

    def __init__(
        self,
        num_members: int,
        in_dim: int,
        out_dim: int,
        hidden: Sequence[int],
        activation: str,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.activation = activation
        sizes = [in_dim, *hidden, out_dim]
        self.weights = nn.ParameterList()  # each [E, in, out]
        self.biases = nn.ParameterList()  # each [E, 1, out]
        for fan_in, fan_out in pairwise(sizes):
            self.weights.append(nn.Parameter(torch.empty(num_members, fan_in, fan_out)))
            self.biases.append(nn.Parameter(torch.empty(num_members, 1, fan_out)))
        self.skip = nn.Parameter(torch.empty(num_members, in_dim, out_dim))
        self.reset(generator)
        self.to(device)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights: uniform in +-1/sqrt(fan_in), the linear path zero."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            for parameter in (weight, bias):
                drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                parameter.copy_(drawn)
        self.skip.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map x [E, n, in] to [E, n, out]."""
        return forward_stack(x, list(self.weights), list(self.biases), self.skip, self.activation)


def forward_stack(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    skip: Tensor,
    activation: str,
) -> Tensor:
    """Apply stacked layers (weights [E, in, out], biases [E, 1, out]) and skip to x [E, n, in]."""
    act = ACTIVATIONS[activation]
    hidden = x
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        hidden = act(torch.baddbmm(bias, hidden, weight))  # [E, n, hidden]
    out = torch.baddbmm(biases[-1], hidden, weights[-1])  # [E, n, out]
    return out.baddbmm_(x, skip)
