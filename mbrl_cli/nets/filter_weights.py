"""The weights of the latent filter, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from mbrl_cli.nets.recurrent_cell import CellWeights


class PosteriorWeights(NamedTuple):
    """Weights of the posterior, a perceptron with one hidden layer.

    Axes: H hidden, D deter, U statistics.
    """

    deter: Tensor  # [H, D] maps deter to the hidden layer
    scale: Tensor  # [H] LayerNorm of the hidden layer
    shift: Tensor  # [H]
    out: Tensor  # [U, H]
    bias: Tensor  # [U]


class FilterWeights(NamedTuple):
    """All weights of the filter; autograd takes and returns them as a flat tuple."""

    cell: CellWeights
    posterior: PosteriorWeights

    def flat(self) -> tuple[Tensor, ...]:
        """Return the tensors in one tuple."""
        return *self.cell, *self.posterior

    @classmethod
    def from_flat(cls, tensors: Sequence[Tensor]) -> FilterWeights:
        """Return the weights of which `flat` made a tuple."""
        size = len(CellWeights._fields)
        return cls(CellWeights(*tensors[:size]), PosteriorWeights(*tensors[size:]))
