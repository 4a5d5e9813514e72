"""Regression by classification: a scalar as a distribution over bins in symlog space (DreamerV3).

Sources: Hafner et al. 2023, "Mastering Diverse Domains through World Models", equations 1, 9, 10;
Imani and White 2018, "Improving Regression Performance with Distributional Losses", and Farebrother
et al. 2024, "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL",
for targets that are spread over neighbouring bins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SYMLOG = 10.0  # symlog of the outermost bin: the largest number is 22,000
SPREAD = 0.75  # standard deviation of an encoded bin, in bins (Farebrother et al.)
REACH = 3  # bins on each side of a bin over which it is spread
CHUNK_NUMBERS = 2**17  # float32 numbers that fit into a CPU's cache


class TwoHot:
    """Encode scalars as distributions over K bins, evenly spaced in symlog.

    A target lies between two bins and puts its weight on both, linearly interpolated. Then the
    weight of each bin is spread over its neighbours like a normal distribution. A network that
    learns the two weights alone is several times less precise for actions that were not tried in a
    state, and a planner compares such actions; see "Bins" in docs/lessons.md.

    The scalar of a distribution is the mean of `values`, chosen so that an encoded target has its
    own mean, and so that a distribution with several modes has the correct one. The size of
    gradients does not depend on the size of the target. Targets beyond the outermost bins are
    clipped; callers scale them, see `RewardScale`.

    Axes: K bins, W bins over which one target is spread.

    Attributes:
        bins: the numbers that a target lies between, before it is spread [K].
        values: the numbers whose mean is the scalar [K]; near `bins`.
    """

    def __init__(self, num_bins: int, device: torch.device | str = "cpu") -> None:
        self._set_bins(symexp(even_bins(num_bins)), device)

    def _set_bins(self, bins: Tensor, device: torch.device | str) -> None:
        """Set the bins [K], how they are spread, and the values [K]."""
        self.bins = bins.to(device)
        number = torch.arange(len(bins))
        distance = (number[:, None] - number).abs()  # [K, K]
        weights = (-0.5 * (distance.double() / SPREAD).square()).exp()
        spread = weights.masked_fill(distance > REACH, 0.0)
        spread = spread / spread.sum(1, keepdim=True)  # row k: the probabilities that encode bin k
        # The mean of each row is to be its own bin: spread @ values = bins.
        values: Tensor = torch.linalg.solve(spread, bins.double())
        values = 0.5 * (values - values.flip(0))  # opposite values are equal to the last digit
        self.values = values.float().to(device)
        # A target between the bins k and k + 1 has probabilities in one window of W bins.
        size = min(2 * REACH + 2, len(bins))
        first = (number[:-1] - REACH).clamp(0, len(bins) - size)
        window = first[:, None] + torch.arange(size)  # [K - 1, W]
        self._window = window.to(device)
        self._lower = spread[:-1].gather(1, window).float().to(device)  # [K - 1, W] of bin k
        self._upper = spread[1:].gather(1, window).float().to(device)  # [K - 1, W] of bin k + 1

    def mean(self, logits: Tensor) -> Tensor:
        """Return the scalars [...] that logits [..., K] encode."""
        probabilities = logits.softmax(-1)
        half = len(self.bins) // 2
        # Opposite bins are subtracted first: a uniform distribution gives 0 without rounding error.
        pairs = probabilities[..., -half:] - probabilities[..., :half].flip(-1)  # [..., K // 2]
        return pairs @ self.values[-half:]

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
        index, probability = (torch.stack(parts, -1) for parts in zip(*encoded, strict=True))
        return _CrossEntropy.apply(logits, index, probability)  # type: ignore[no-any-return, no-untyped-call]

    def encode(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bins that encode each target [...] and their probabilities, [..., W] each."""
        target = target.clamp(self.bins[0], self.bins[-1])
        lower = torch.bucketize(target, self.bins, right=True) - 1
        lower = lower.clamp(0, len(self.bins) - 2)
        width = self.bins[lower + 1] - self.bins[lower]
        upper_weight = ((target - self.bins[lower]) / width)[..., None]
        return self._window[lower], torch.lerp(self._lower[lower], self._upper[lower], upper_weight)


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy whose gradient is accumulated in one buffer.

    Autograd would allocate a buffer [..., K] for each number that `gather` reads.

    Axes: n targets, each with the probabilities of W bins.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, probability: Tensor) -> Tensor:
        log_probs = F.log_softmax(logits, dim=-1)  # [..., K]
        ctx.save_for_backward(log_probs, index, probability)
        read = log_probs.gather(-1, index.flatten(-2))  # [..., W * n]
        return -(read * probability.flatten(-2)).sum(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        log_probs, index, probability = ctx.saved_tensors
        gradient = gradient[..., None]
        result = log_probs.exp().mul_(index.shape[-1] * gradient)
        for target in range(index.shape[-1]):  # one by one, so that the order of sums is fixed
            result.scatter_add_(-1, index[..., target], -gradient * probability[..., target])
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
