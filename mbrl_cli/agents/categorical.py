"""Categorical distribution of one discrete action."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Categorical:
    """Distribution of one-hot actions over A choices.

    All methods take the outputs of an actor: logits [n, A].

    Axes: n rows, A choices.
    """

    def __init__(self, num_choices: int) -> None:
        self.num_outputs = num_choices
        self.noise_dim = 0  # expectations are sums over the choices, without random numbers

    def mode(self, out: Tensor) -> Tensor:
        """Return the most likely actions [n, A]."""
        return F.one_hot(out.argmax(-1), self.num_outputs).float()

    def expectation_and_entropy(self, out: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expectation [n] of the choices' values [n, A], and the entropy [n]."""
        log_probs = F.log_softmax(out, dim=-1)  # [n, A]
        probs = log_probs.exp()
        return (probs * values).sum(-1), -(probs * log_probs).sum(-1)

    def sample(self, out: Tensor, generator: torch.Generator) -> Tensor:
        """Return random actions [n, A]: argmax of logits plus Gumbel noise."""
        uniform = torch.rand(out.shape, generator=generator, device=generator.device)
        gumbel = -(-uniform.to(out.device).clamp_min(1e-20).log()).log()
        return self.mode(out + gumbel)
