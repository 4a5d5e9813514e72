"""Two-hot regression whose mean is taken in symlog space (TD-MPC2, Hansen et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.nets.two_hot import TwoHot, even_bins, symexp, symlog


class SymlogTwoHot(TwoHot):
    """Encode a scalar as the symlog mean of K bins that are evenly spaced in symlog.

    A little probability in the outermost bins changes the scalar by a small factor. With `TwoHot`
    it adds a multiple of 22,000, which matters where values are compared to choose a plan.

    Axes: K bins.
    """

    def __init__(self, num_bins: int, device: torch.device | str = "cpu") -> None:
        self._set_bins(even_bins(num_bins), device)

    def mean(self, logits: Tensor) -> Tensor:
        """Return the scalars [...] that logits [..., K] encode."""
        return symexp(super().mean(logits))

    def encode(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bins that encode each target [...] and their probabilities, [..., W] each."""
        return super().encode(symlog(target))
