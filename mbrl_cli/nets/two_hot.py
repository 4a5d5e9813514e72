"""Numbers of any size as targets: symlog, and a distribution over bins (DreamerV3).

Source: Hafner et al. 2023, "Mastering Diverse Domains through World Models", equations 1, 9, 10.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 10.0  # symlog of the outermost bins: numbers up to 22,000


class TwoHot:
    """Read and train a number as a distribution over K bins, spaced evenly in symlog.

    The number is the mean of the bins; a target lies between two bins, and its weight on each says
    where. So gradients do not grow with the target, and several outcomes are no blur but a mean.

    Axes: K bins.
    """

    def __init__(self, num_bins: int, device: torch.device | str = "cpu") -> None:
        below = symexp(torch.linspace(-LARGEST, LARGEST, num_bins))[: num_bins // 2]
        middle = torch.zeros(num_bins % 2)
        # Mirrored to the bit, so that equal weights mean exactly zero.
        self.bins = torch.cat([below, middle, -below.flip(0)]).to(device)  # [K]

    def mean(self, logits: Tensor) -> Tensor:
        """Return the numbers [...] that logits [..., K] stand for."""
        chance = logits.softmax(-1)
        half = len(self.bins) // 2
        # Mirrored bins are added pairwise first: an untrained head says zero, not rounding errors.
        pairs = chance[..., -half:] - chance[..., :half].flip(-1)  # [..., K // 2]
        return (pairs * self.bins[-half:]).sum(-1)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the cross entropy [...] of targets [...] under logits [..., K]."""
        low, weight = self.split(target)
        log_chance = F.log_softmax(logits, dim=-1)
        below = log_chance.gather(-1, low[..., None])[..., 0]
        above = log_chance.gather(-1, low[..., None] + 1)[..., 0]
        return -torch.lerp(below, above, weight)

    def split(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bin below each target [...] and the weight of the bin above it."""
        target = target.clamp(self.bins[0], self.bins[-1])
        low = torch.bucketize(target, self.bins, right=True) - 1
        low = low.clamp(0, len(self.bins) - 2)
        width = self.bins[low + 1] - self.bins[low]
        return low, (target - self.bins[low]) / width


def symlog(x: Tensor) -> Tensor:
    """Return sign(x) log(1 + |x|): x near zero, its logarithm far from it."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Return what `symlog` makes x of."""
    return x.sign() * x.abs().expm1()
