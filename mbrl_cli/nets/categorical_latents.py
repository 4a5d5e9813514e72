"""Discrete latents: a few categorical variables (DreamerV2, Hafner et al. 2021; DreamerV3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class CategoricalLatents:
    """S variables of K classes each, as one-hot blocks in a row; statistics are their logits.

    A share `unimix` of every distribution is uniform, so that no class is ever ruled out.
    Gradients pass a sample as if it were its probabilities (straight-through).

    Axes: S variables, K classes; the latent and its statistics have S * K entries.
    """

    def __init__(self, variables: int, classes: int, unimix: float) -> None:
        self.variables = variables
        self.classes = classes
        self.unimix = unimix
        self.size = self.num_statistics = variables * classes

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw what `sample` needs for latents [*shape, S * K]."""
        device = generator.device
        return torch.rand(*shape, self.variables, 1, generator=generator, device=device)

    def sample(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return latents [..., S * K] of statistics [..., S * K] and noise [..., S, 1]."""
        return _one_hot(_mixed(self._blocks(statistics), self.unimix), noise).flatten(-2)

    def slopes(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Return what `passed` needs to know of samples [..., S * K]."""
        return _softmax(self._blocks(statistics))

    def passed(self, gradient: Tensor, slopes: Tensor) -> Tensor:
        """Return the statistics' gradient for one of their sample [..., S * K]."""
        blocks = self._blocks(gradient)
        mean = (blocks * slopes).sum(-1, keepdim=True)
        return (slopes * (blocks - mean)).mul_(1.0 - self.unimix).flatten(-2)

    def mode(self, statistics: Tensor) -> Tensor:
        """Return the likeliest latents [..., S * K]."""
        logits = self._blocks(statistics)
        return F.one_hot(logits.argmax(-1), self.classes).flatten(-2).float()

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """Return KL(left || right) [...] in nats, summed over the variables."""
        chance = _mixed(self._blocks(left), self.unimix)
        other = _mixed(self._blocks(right), self.unimix)
        return (chance * (chance.log() - other.log())).sum((-1, -2))

    def entropy(self, statistics: Tensor) -> Tensor:
        """Return the entropy [...] in nats, summed over the variables."""
        logits = self._blocks(statistics)
        chance = _mixed(logits, self.unimix)
        return -(chance * chance.log()).sum((-1, -2))

    def _blocks(self, statistics: Tensor) -> Tensor:
        return statistics.view(*statistics.shape[:-1], self.variables, self.classes)


def _mixed(logits: Tensor, unimix: float) -> Tensor:
    return _softmax(logits) * (1.0 - unimix) + unimix / logits.shape[-1]


def _softmax(logits: Tensor) -> Tensor:
    """Return the softmax; on a CPU torch's own takes ten times as long for so few classes."""
    weight = (logits - logits.detach().amax(-1, keepdim=True)).exp()
    return weight / weight.sum(-1, keepdim=True)


def _one_hot(chance: Tensor, noise: Tensor) -> Tensor:
    """Return the class of each variable in whose share of [0, 1] its noise lies, one-hot."""
    total = chance.cumsum(-1)
    above = torch.gt(total, noise, out=torch.empty_like(total))  # 0 below the class, 1 from it on
    above[..., -1] = 1.0  # whatever the sum was rounded to
    one_hot = above.clone()
    one_hot[..., 1:] -= above[..., :-1]
    return one_hot
