"""The action distribution of Dreamer's actor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mbrl_cli.types import ActionSpec

MIN_STD, MAX_STD = 0.1, 1.0


class ActionDistribution:
    """A distribution over encoded actions, parametrised by the outputs of an actor.

    Discrete: one categorical distribution per block; the fraction `unimix` of its probability is
    uniform (DreamerV3). Continuous: a normal distribution with mean in (-1, 1); the environment
    clips samples to [-1, 1].

    Axes: A action dim, K choices of a block.
    """

    def __init__(self, action: ActionSpec, unimix: float = 0.01) -> None:
        self.action = action
        self.unimix = unimix
        self.discrete = action.kind == "discrete"
        self._block_sizes = list(action.sizes)
        self.num_outputs = action.dim if self.discrete else 2 * action.dim

    def sample(self, out: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions [..., A] for outputs [..., num_outputs]."""
        if not self.discrete:
            mean, std = self._moments(out)
            noise = torch.randn(mean.shape, generator=generator, device=generator.device)
            return torch.addcmul(mean, std, noise.to(mean.device))
        uniform = torch.rand(out.shape, generator=generator, device=generator.device)
        # With e_k exponential, argmax p_k / e_k is a sample of the categorical distribution p.
        exponential = -uniform.clamp_min(1e-20).log().to(out.device)
        blocks = torch.split(exponential, self._block_sizes, -1)
        pairs = zip(self._probabilities(out), blocks, strict=True)
        return _concatenate([_one_hot_argmax(p / e) for p, e in pairs])

    def mode(self, out: Tensor) -> Tensor:
        """Return the most likely actions [..., A]."""
        if not self.discrete:
            return self._moments(out)[0]
        blocks = torch.split(out, self._block_sizes, -1)
        return _concatenate([_one_hot_argmax(logits) for logits in blocks])

    def log_prob_and_entropy(self, out: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return log probability (density) [...] of actions [..., A], and the entropy [...]."""
        if not self.discrete:
            mean, std = self._moments(out)
            log_std = std.log()
            constant = 0.5 * math.log(2.0 * math.pi)
            log_density = -0.5 * ((action - mean) / std).square() - log_std - constant
            return log_density.sum(-1), (log_std + constant + 0.5).sum(-1)
        probabilities = _concatenate(self._probabilities(out))  # [..., A]
        log_probs = probabilities.log()
        return (log_probs * action).sum(-1), -(probabilities * log_probs).sum(-1)

    def _probabilities(self, out: Tensor) -> list[Tensor]:
        """Return the probabilities of each block [..., K]."""
        blocks = torch.split(out, self._block_sizes, -1)
        return [b.softmax(-1) * (1.0 - self.unimix) + self.unimix / b.shape[-1] for b in blocks]

    def _moments(self, out: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = out.chunk(2, -1)
        return mean.tanh(), MIN_STD + (MAX_STD - MIN_STD) * torch.sigmoid(raw + 2.0)


def _one_hot_argmax(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)


def _concatenate(blocks: list[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, -1)
