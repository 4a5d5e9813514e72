"""Gaussian latents: a vector of independent normal variables (PlaNet, Hafner et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_STD = 0.1  # bounds the KL, which grows without limit as a standard deviation vanishes


class GaussianLatents:
    """Z independent normal variables; see `Latents` for the methods.

    Statistics are [mean Z | raw standard deviation Z], std = softplus(raw) + `MIN_STD`.

    Axes: Z variables; U = 2 Z.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.num_statistics = 2 * size

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw standard normal numbers [*shape, Z]."""
        return torch.randn(*shape, self.size, generator=generator, device=generator.device)

    def sample(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return samples [..., Z] for statistics [..., 2 Z] and noise [..., Z]."""
        mean, std = _moments(statistics)
        return torch.addcmul(mean, std, noise)

    def sample_derivative(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return the derivative [..., Z] of samples by the raw standard deviations."""
        return noise * torch.sigmoid(statistics[..., self.size :])

    def sample_vjp(self, gradient: Tensor, derivative: Tensor) -> Tensor:
        """Return the gradient of the statistics [..., 2 Z]."""
        return torch.cat([gradient, gradient * derivative], -1)

    def mode(self, statistics: Tensor) -> Tensor:
        """Return the means [..., Z]."""
        return statistics[..., : self.size]

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """Return KL(left || right) [...] in nats, summed over the variables."""
        (mean, std), (other_mean, other_std) = _moments(left), _moments(right)
        ratio = (std / other_std).square()
        shift = ((mean - other_mean) / other_std).square()
        return 0.5 * (ratio + shift - 1.0 - ratio.log()).sum(-1)

    def entropy(self, statistics: Tensor) -> Tensor:
        """Return the entropy [...] in nats, summed over the variables."""
        _, std = _moments(statistics)
        return (std.log() + 0.5 * (1.0 + torch.log(torch.tensor(2.0 * torch.pi)))).sum(-1)


def _moments(statistics: Tensor) -> tuple[Tensor, Tensor]:
    mean, raw = statistics.chunk(2, -1)
    return mean, F.softplus(raw) + MIN_STD
