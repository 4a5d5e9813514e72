"""Networks of one shape with stacked weights, for actors, critics and target networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mbrl_cli.nets.mixed_precision import Precision


class StackedNetwork(ABC):
    """E networks of one shape, evaluated together with one batched matrix product per layer.

    A call accepts other parameters. A target network, or a frozen copy of the current network, is
    therefore only another list of tensors.

    Axes: E members, n rows, in/out features.

    Attributes:
        precision: of the hidden layers' products; weights and the output layer are float32.
        parameters: alternately weight [E, in, out] and bias [E, 1, out]; the last two are those of
            the output layer.
    """

    def __init__(
        self,
        num_members: int,
        layers: Sequence[tuple[int, int]],
        generator: torch.Generator,
        device: torch.device | str,
        precision: Precision = "float32",
    ) -> None:
        """Draw the parameters of `layers` (inputs, outputs), uniform in +-1/sqrt(inputs)."""
        self.precision = precision
        self.parameters: list[Tensor] = []
        for fan_in, fan_out in layers:
            bound = fan_in**-0.5
            for rows in (fan_in, 1):
                uniform = torch.empty(num_members, rows, fan_out)
                uniform.uniform_(-bound, bound, generator=generator)
                self.parameters.append(uniform.to(device).requires_grad_())

    def __call__(self, x: Tensor, parameters: Sequence[Tensor] | None = None) -> Tensor:
        """Map x [E, n, in] to [E, n, out] with the own parameters or the given ones."""
        weights = self.parameters if parameters is None else parameters
        use_bfloat16 = self.precision == "bfloat16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=use_bfloat16):
            x = self.hidden_layers(x, weights[:-2]).float()
        weight, bias = weights[-2:]
        if weight.shape[-1] == 1:  # faster than a matrix product with one column
            return (x * weight.mT).sum(-1, keepdim=True) + bias
        return torch.baddbmm(bias, x, weight)

    @abstractmethod
    def hidden_layers(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Map x [E, n, in] to the inputs [E, n, hidden] of the output layer."""

    @torch.no_grad()
    def zero_outputs(self, outputs: slice) -> None:
        """Set the output layer's weights of these outputs to zero, so that they start at zero."""
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
