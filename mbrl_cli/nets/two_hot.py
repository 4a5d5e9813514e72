"""Regression by classification: a scalar as a distribution over bins in symlog space (DreamerV3).

Source: Hafner et al. 2023, "Mastering Diverse Domains through World Models", equations 1, 9, 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SYMLOG = 10.0  # symlog of the outermost bin: the largest number is 22,000
CHUNK_NUMBERS = 2**17  # float32 numbers that fit into a CPU's cache


class TwoHot:
    """Encode scalars as distributions over K bins, evenly spaced in symlog.

    The scalar is the mean of the bins. A target lies between two bins and puts its weight on both,
    linearly interpolated. The size of gradients does not depend on the size of the target, and a
    distribution with several modes has the correct mean. Targets beyond the outermost
    bins are clipped; callers scale them, see `RewardScale`.

    Axes: K bins.
    """

    def __init__(self, num_bins: int, device: torch.device | str = "cpu") -> None:
        self.bins = symexp(even_bins(num_bins)).to(device)  # [K]

    def mean(self, logits: Tensor) -> Tensor:
        """Return the scalars [...] that logits [..., K] encode."""
        probabilities = logits.softmax(-1)
        half = len(self.bins) // 2
        # Opposite bins are subtracted first: a uniform distribution gives 0 without rounding error.
        pairs = probabilities[..., -half:] - probabilities[..., :half].flip(-1)  # [..., K // 2]
        return pairs @ self.bins[-half:]

    def predict(self, net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return the scalars [...] that a network with K outputs predicts for x [..., in]."""
        chunks = self.chunks(x.flatten(0, -2))
        return torch.cat([self.mean(net(chunk)) for chunk in chunks]).view(x.shape[:-1])

    def chunks(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Split rows [n, ...] so that on a CPU the logits of one chunk fit into its cache."""
        on_cpu = rows.device.type == "cpu"
        return torch.split(rows, CHUNK_NUMBERS // len(self.bins) if on_cpu else len(rows))

    def loss(self, logits: Tensor, *targets: Tensor) -> Tensor:
        """Return the sum of the cross entropies [...] of logits [..., K] and each target [...]."""
        encoded = [self.encode(target) for target in targets]
        lower, upper_weight = (torch.stack(parts, -1) for parts in zip(*encoded, strict=True))
        return _CrossEntropy.apply(logits, lower, upper_weight)  # type: ignore[no-any-return, no-untyped-call]

    def encode(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of the bin below each target [...] and the weight of the bin above."""
        target = target.clamp(self.bins[0], self.bins[-1])
        lower = torch.bucketize(target, self.bins, right=True) - 1
        lower = lower.clamp(0, len(self.bins) - 2)
        width = self.bins[lower + 1] - self.bins[lower]
        return lower, (target - self.bins[lower]) / width


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy whose gradient is accumulated in one buffer.

    Autograd would allocate a buffer [..., K] for each number that `gather` reads.

    Axes: n targets, each between the bins `lower` and `lower + 1`.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, lower: Tensor, upper_weight: Tensor) -> Tensor:
        log_probs = F.log_softmax(logits, dim=-1)  # [..., K]
        ctx.save_for_backward(log_probs, lower, upper_weight)
        log_lower, log_upper = log_probs.gather(-1, lower), log_probs.gather(-1, lower + 1)
        return -torch.lerp(log_lower, log_upper, upper_weight).sum(-1)  # [..., n] -> [...]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        log_probs, lower, upper_weight = ctx.saved_tensors
        gradient = gradient[..., None]
        result = log_probs.exp().mul_(lower.shape[-1] * gradient)
        for target in range(lower.shape[-1]):  # one by one, so that the order of sums is fixed
            index, weight = lower[..., target, None], upper_weight[..., target, None]
            result.scatter_add_(-1, index, gradient * (weight - 1.0))
            result.scatter_add_(-1, index + 1, gradient * -weight)
        return result, None, None


def even_bins(num_bins: int) -> Tensor:
    """Return K evenly spaced numbers [K] from -`MAX_SYMLOG` to `MAX_SYMLOG`.

    They are exactly symmetric, so that the mean of a uniform distribution is exactly zero.
    """
    below = torch.linspace(-MAX_SYMLOG, MAX_SYMLOG, num_bins)[: num_bins // 2]
    return torch.cat([below, torch.zeros(num_bins % 2), -below.flip(0)])


def symlog(x: Tensor) -> Tensor:
    """Return sign(x) log(1 + |x|): about x near zero, logarithmic for large |x|."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Return sign(x) (exp(|x|) - 1), the inverse of `symlog`."""
    return x.sign() * x.abs().expm1()
