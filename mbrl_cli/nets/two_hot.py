"""Numbers of any size as targets: symlog, and a distribution over bins (DreamerV3).

Source: Hafner et al. 2023, "Mastering Diverse Domains through World Models", equations 1, 9, 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 10.0  # symlog of the outermost bins: numbers up to 22,000
CACHED = 2**17  # numbers that a CPU keeps at hand


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
        return pairs @ self.bins[-half:]

    def read(self, net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return the numbers [...] that a network says of x [..., in]."""
        parts = self.parts(x.flatten(0, -2))
        return torch.cat([self.mean(net(part)) for part in parts]).view(x.shape[:-1])

    def parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Split rows [n, ...] so that on a CPU the logits of a part stay in its cache."""
        on_cpu = rows.device.type == "cpu"
        return torch.split(rows, CACHED // len(self.bins) if on_cpu else len(rows))

    def loss(self, logits: Tensor, *targets: Tensor) -> Tensor:
        """Return the cross entropy [...] of logits [..., K] and each target [...], added up."""
        splits = [self.split(target) for target in targets]
        low, weight = (torch.stack(parts, -1) for parts in zip(*splits, strict=True))
        return _CrossEntropy.apply(logits, low, weight)  # type: ignore[no-any-return, no-untyped-call]

    def split(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bin below each target [...] and the weight of the bin above it."""
        target = target.clamp(self.bins[0], self.bins[-1])
        low = torch.bucketize(target, self.bins, right=True) - 1
        low = low.clamp(0, len(self.bins) - 2)
        width = self.bins[low + 1] - self.bins[low]
        return low, (target - self.bins[low]) / width


class _CrossEntropy(torch.autograd.Function):
    """The gradient in one buffer; torch's own fills one for every number it has picked.

    Axes: n targets, each between the bins `low` and `low + 1`.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, low: Tensor, weight: Tensor) -> Tensor:
        log_chance = F.log_softmax(logits, dim=-1)  # [..., K]
        ctx.save_for_backward(log_chance, low, weight)
        below, above = log_chance.gather(-1, low), log_chance.gather(-1, low + 1)  # [..., n]
        return -torch.lerp(below, above, weight).sum(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        log_chance, low, weight = ctx.saved_tensors
        gradient = gradient[..., None]
        result = log_chance.exp().mul_(low.shape[-1] * gradient)
        for target in range(low.shape[-1]):  # one by one: the order of sums is then known
            at, share = low[..., target, None], weight[..., target, None]
            result.scatter_add_(-1, at, gradient * (share - 1.0))
            result.scatter_add_(-1, at + 1, gradient * -share)
        return result, None, None


def symlog(x: Tensor) -> Tensor:
    """Return sign(x) log(1 + |x|): x near zero, its logarithm far from it."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Return what `symlog` makes x of."""
    return x.sign() * x.abs().expm1()
