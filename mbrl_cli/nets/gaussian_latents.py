"""Gaussian latents: a vector with a mean and a standard deviation (PlaNet, Hafner et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_STD = 0.1  # a latent that is too sure of itself has a KL without bound


class GaussianLatents:
    """S independent normal variables; statistics are their means and raw deviations [..., 2 S]."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.num_statistics = 2 * size

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw what `sample` needs for latents [*shape, S]."""
        return torch.randn(*shape, self.size, generator=generator, device=generator.device)

    def sample(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return latents [..., S] of statistics [..., 2 S] and noise [..., S]."""
        mean, std = _moments(statistics)
        return torch.addcmul(mean, std, noise)

    def slopes(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return what `passed` needs to know of samples [..., S]."""
        return noise * torch.sigmoid(statistics[..., self.size :])

    def passed(self, gradient: Tensor, slopes: Tensor) -> Tensor:
        """Return the statistics' gradient for one of their sample [..., S]."""
        return torch.cat([gradient, gradient * slopes], -1)

    def mode(self, statistics: Tensor) -> Tensor:
        """Return the likeliest latents [..., S]."""
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
