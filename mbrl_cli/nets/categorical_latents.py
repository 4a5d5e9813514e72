"""Discrete latents: several categorical variables (DreamerV2, Hafner et al. 2021; DreamerV3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class CategoricalLatents:
    """S categorical variables of K classes each; see `Latents` for the methods.

    A latent vector is S one-hot blocks in a row, its statistics are S blocks of K logits. The
    fraction `unimix` of every distribution is uniform, so that no class has probability zero
    (DreamerV3). Gradients pass a sample as if it were its probabilities (straight-through,
    DreamerV2).

    Axes: S variables, K classes; Z = U = S * K.
    """

    def __init__(self, variables: int, classes: int, unimix: float = 0.01) -> None:
        self.variables = variables
        self.classes = classes
        self.unimix = unimix
        self.size = self.num_statistics = variables * classes

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw uniform numbers [*shape, S, 1]."""
        device = generator.device
        return torch.rand(*shape, self.variables, 1, generator=generator, device=device)

    def sample(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return samples [..., S * K] for statistics [..., S * K] and noise [..., S, 1]."""
        return _sample_one_hot(_mixed(self._blocks(statistics), self.unimix), noise).flatten(-2)

    def sample_derivative(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return the probabilities [..., S, K] without the uniform fraction."""
        return _softmax(self._blocks(statistics))

    def sample_vjp(self, gradient: Tensor, derivative: Tensor) -> Tensor:
        """Return the gradient of the logits [..., S * K]: that of a softmax."""
        blocks = self._blocks(gradient)  # [..., S, K]
        mean = (blocks * derivative).sum(-1, keepdim=True)
        return (derivative * (blocks - mean)).mul_(1.0 - self.unimix).flatten(-2)

    def mode(self, statistics: Tensor) -> Tensor:
        """Return the most likely latents [..., S * K]."""
        logits = self._blocks(statistics)
        return F.one_hot(logits.argmax(-1), self.classes).flatten(-2).float()

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """Return KL(left || right) [...] in nats, summed over the variables."""
        p = _mixed(self._blocks(left), self.unimix)
        q = _mixed(self._blocks(right), self.unimix)
        return (p * (p.log() - q.log())).sum((-1, -2))

    def entropy(self, statistics: Tensor) -> Tensor:
        """Return the entropy [...] in nats, summed over the variables."""
        p = _mixed(self._blocks(statistics), self.unimix)
        return -(p * p.log()).sum((-1, -2))

    def _blocks(self, statistics: Tensor) -> Tensor:
        return statistics.view(*statistics.shape[:-1], self.variables, self.classes)


def _mixed(logits: Tensor, unimix: float) -> Tensor:
    """Return probabilities [..., K] of which the fraction `unimix` is uniform."""
    return _softmax(logits) * (1.0 - unimix) + unimix / logits.shape[-1]


def _softmax(logits: Tensor) -> Tensor:
    """Return the softmax; on a CPU torch's own takes ten times as long for so few classes."""
    weight = (logits - logits.detach().amax(-1, keepdim=True)).exp()
    return weight / weight.sum(-1, keepdim=True)


def _sample_one_hot(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Return the class at which the cumulative probability exceeds the noise, one-hot [..., K]."""
    cumulative = probabilities.cumsum(-1)
    # 1 from the chosen class on, 0 before it.
    exceeds = torch.gt(cumulative, noise, out=torch.empty_like(cumulative))
    exceeds[..., -1] = 1.0  # rounding can leave the last sum below the noise
    one_hot = exceeds.clone()
    one_hot[..., 1:] -= exceeds[..., :-1]
    return one_hot
