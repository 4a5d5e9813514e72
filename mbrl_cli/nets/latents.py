"""The interface of the stochastic part of a latent state."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Latents(Protocol):
    """A family of distributions over latent vectors.

    A distribution is given by its statistics, the output of a network. Leading axes [...] are
    arbitrary.

    Axes: Z entries of a latent vector, U statistics.
    """

    size: int  # Z
    num_statistics: int  # U

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw the random numbers with which `sample` makes latents [*shape, Z].

        They are drawn apart from sampling, so that all steps of a sequence need one call.
        """
        ...

    def sample(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return samples [..., Z] for statistics [..., U] and the numbers of `noise`."""
        ...

    def sample_derivative(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return the derivative of `sample` in the form that `sample_vjp` takes."""
        ...

    def sample_vjp(self, gradient: Tensor, derivative: Tensor) -> Tensor:
        """Return the vector-Jacobian product of `sample`: the gradient of statistics [..., U].

        Args:
            gradient: of the samples [..., Z].
            derivative: from `sample_derivative`, for the same samples.
        """
        ...

    def mode(self, statistics: Tensor) -> Tensor:
        """Return the most likely latents [..., Z]."""
        ...

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """Return KL(left || right) [...] in nats, for statistics [..., U] of both."""
        ...

    def entropy(self, statistics: Tensor) -> Tensor:
        """Return the entropy [...] in nats."""
        ...
