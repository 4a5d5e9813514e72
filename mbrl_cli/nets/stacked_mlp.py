"""MLPs of one shape with stacked weights, for actors, critics and target networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.nets.activations import ACTIVATIONS


class StackedMLP:
    """E multilayer perceptrons, evaluated together with one batched matrix product per layer.

    A call accepts other parameters. A target network, or a frozen copy of the current network, is
    therefore only another list of tensors.

    Axes: E members, n rows, in/out features.
    """

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
    ) -> None:
        self.activation = ACTIVATIONS[activation]
        self.layer_norm = layer_norm
        self.parameters: list[Tensor] = []  # alternately weight [E, in, out] and bias [E, 1, out]
        for fan_in, fan_out in pairwise([in_dim, *hidden, out_dim]):
            bound = fan_in**-0.5
            for rows in (fan_in, 1):
                uniform = torch.empty(num_members, rows, fan_out)
                uniform.uniform_(-bound, bound, generator=generator)
                self.parameters.append(uniform.to(device).requires_grad_())

    def __call__(self, x: Tensor, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Map x [E, n, in] to [E, n, out] with the own parameters or the given ones."""
        weights = self.parameters if parameters is None else parameters
        for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = torch.baddbmm(bias, x, weight)  # [E, n, hidden]
            if self.layer_norm:
                x = F.layer_norm(x, x.shape[-1:])  # no scale and shift: the next layer learns them
            x = self.activation(x)
        weight, bias = weights[-2:]
        if weight.shape[-1] == 1:  # faster than a matrix product with one column
            return (x * weight.mT).sum(-1, keepdim=True) + bias
        return torch.baddbmm(bias, x, weight)

    @torch.no_grad()
    def zero_outputs(self, outputs: slice) -> None:
        """Set the last layer's weights of these outputs to zero, so that they start at zero."""
        for parameter in self.parameters[-2:]:
            parameter[..., outputs] = 0.0

    def detached(self) -> list[Tensor]:
        """Return the parameters without gradient; they share memory with the originals."""
        return [parameter.detach() for parameter in self.parameters]

    @torch.no_grad()
    def load(self, parameters: Sequence[Tensor]) -> None:
        """Copy the values of `parameters` into the own ones."""
        for own, other in zip(self.parameters, parameters, strict=True):
            own.copy_(other)
