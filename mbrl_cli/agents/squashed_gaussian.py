"""Squashed Gaussian distribution of continuous actions (Haarnoja et al. 2018, appendix C)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_STD_RANGE = (-20.0, 2.0)


class SquashedGaussian:
    """Distribution of actions tanh(u) in (-1, 1), where u is Gaussian.

    All methods take the outputs of an actor: mean and log standard deviation of u, [n, 2 A].

    Axes: n rows, A action dim.
    """

    def __init__(self, action_dim: int) -> None:
        self.num_outputs = 2 * action_dim
        self.noise_dim = action_dim  # normal random numbers per row for `sample_with_log_density`

    def mode(self, out: Tensor) -> Tensor:
        """Return the actions [n, A] at the mean of u."""
        return out.chunk(2, -1)[0].tanh()

    def sample(self, out: Tensor, generator: torch.Generator) -> Tensor:
        """Return random actions [n, A]."""
        shape = len(out), self.noise_dim
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return self.sample_with_noise(out, noise.to(out.device))

    def sample_with_noise(self, out: Tensor, noise: Tensor) -> Tensor:
        """Return the actions [n, A] for standard normal random numbers [n, A]."""
        mean, log_std = out.chunk(2, -1)
        return torch.addcmul(mean, log_std.clamp(*LOG_STD_RANGE).exp(), noise).tanh()

    def sample_with_log_density(self, out: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions [n, A] and their log density [n], differentiable in `out`.

        log p(tanh(u)) = log N(u) - sum_i log(1 - tanh(u_i)^2)

        Args:
            out: outputs of the actor.
            noise: standard normal random numbers [n, A].
        """
        mean, log_std = out.chunk(2, -1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        u = torch.addcmul(mean, log_std.exp(), noise)
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)); the right side does not overflow.
        log_derivative = 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))
        negative_log_normal = 0.5 * noise.square() + 0.5 * math.log(2.0 * math.pi)
        return u.tanh(), -(negative_log_normal + log_std + log_derivative).sum(-1)
