"""Plain MLPs of one shape with stacked weights: actors, critics and their targets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.nets.ensemble_mlp import ACTIVATIONS


class StackedMLP:
    """E multilayer perceptrons, evaluated together: one batched product a layer.

    The weights may be given at the call, so that a target network, or a frozen copy of the
    current one, is no more than another list of tensors.

    Axes: E members, n rows, in/out features.
    """

    def __init__(
        self,
        num_members: int,
        in_dim: int,
        out_dim: int,
        hidden: Sequence[int],
        activation: str,
        layer_norm: bool,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        self.activation = ACTIVATIONS[activation]
        self.layer_norm = layer_norm
        self.parameters: list[Tensor] = []  # in turn weight [E, in, out] and bias [E, 1, out]
        for fan_in, fan_out in pairwise([in_dim, *hidden, out_dim]):
            bound = fan_in**-0.5
            for rows in (fan_in, 1):
                drawn = torch.empty(num_members, rows, fan_out)
                drawn.uniform_(-bound, bound, generator=generator)
                self.parameters.append(drawn.to(device).requires_grad_())

    def __call__(self, x: Tensor, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Map x [E, n, in] to [E, n, out], with other `parameters` where they are given."""
        weights = self.parameters if parameters is None else parameters
        for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = torch.baddbmm(bias, x, weight)  # [E, n, hidden]
            if self.layer_norm:
                x = F.layer_norm(x, x.shape[-1:])  # the next layer can scale and shift
            x = self.activation(x)
        weight, bias = weights[-2:]
        if weight.shape[-1] == 1:  # a matrix product with one column is several times slower
            return (x * weight.mT).sum(-1, keepdim=True) + bias
        return torch.baddbmm(bias, x, weight)

    @torch.no_grad()
    def silence(self, outputs: slice) -> None:
        """Start these outputs at zero, whatever comes in."""
        for parameter in self.parameters[-2:]:
            parameter[..., outputs] = 0.0

    def detached(self) -> list[Tensor]:
        """Return the parameters, sharing memory, as constants."""
        return [parameter.detach() for parameter in self.parameters]

    @torch.no_grad()
    def load(self, parameters: Sequence[Tensor]) -> None:
        """Copy the values of `parameters`."""
        for own, other in zip(self.parameters, parameters, strict=True):
            own.copy_(other)
