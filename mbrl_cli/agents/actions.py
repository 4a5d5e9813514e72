"""What an actor's outputs mean: how to draw actions, how likely and how uncertain they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mbrl_cli.types import ActionSpec

MIN_STD, MAX_STD = 0.1, 1.0


class ActionDistribution:
    """A distribution over encoded actions, read from an actor's outputs.

    Discrete: one categorical for each block, a share `unimix` of it uniform. Continuous: a normal
    distribution with its mean in (-1, 1); what it draws beyond that range the environment clips.

    Axes: A action dim, K choices of a block.
    """

    def __init__(self, action: ActionSpec, unimix: float) -> None:
        self.action = action
        self.unimix = unimix
        self.discrete = action.kind == "discrete"
        self._sizes = list(action.sizes)
        self.num_outputs = action.dim if self.discrete else 2 * action.dim

    def sample(self, out: Tensor, generator: torch.Generator) -> Tensor:
        """Return actions [..., A] for outputs [..., num_outputs]."""
        if not self.discrete:
            mean, std = self._moments(out)
            noise = torch.randn(mean.shape, generator=generator, device=generator.device)
            return torch.addcmul(mean, std, noise.to(mean.device))
        uniform = torch.rand(out.shape, generator=generator, device=generator.device)
        # The largest of chance / exponential number is a sample.
        luck = -uniform.clamp_min(1e-20).log().to(out.device)
        parts = zip(self._chances(out), torch.split(luck, self._sizes, -1), strict=True)
        return _joined([_one_hot(chance / part) for chance, part in parts])

    def mode(self, out: Tensor) -> Tensor:
        """Return the likeliest actions [..., A]."""
        if not self.discrete:
            return self._moments(out)[0]
        return _joined([_one_hot(part) for part in torch.split(out, self._sizes, -1)])

    def log_chance_and_entropy(self, out: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return log probability (density) [...] of actions [..., A], and the entropy [...]."""
        if not self.discrete:
            mean, std = self._moments(out)
            log_std = std.log()
            constant = 0.5 * math.log(2.0 * math.pi)
            log_density = -0.5 * ((action - mean) / std).square() - log_std - constant
            return log_density.sum(-1), (log_std + constant + 0.5).sum(-1)
        chance = _joined(self._chances(out))
        log_chance = chance.log()
        return (log_chance * action).sum(-1), -(chance * log_chance).sum(-1)

    def _chances(self, out: Tensor) -> list[Tensor]:
        blocks = torch.split(out, self._sizes, -1)
        return [b.softmax(-1) * (1.0 - self.unimix) + self.unimix / b.shape[-1] for b in blocks]

    def _moments(self, out: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = out.chunk(2, -1)
        return mean.tanh(), MIN_STD + (MAX_STD - MIN_STD) * torch.sigmoid(raw + 2.0)


def _one_hot(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)
