"""An exponential moving average of weights, for evaluations that noise of the updates disturbs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """Average weights over about 1 / `rate` updates.

    Args:
        weights: tensors that an optimiser changes in place.
        rate: of an update, at most 1; with 1 the averages are the weights, and nothing is stored.
    """

    def __init__(self, weights: Sequence[Tensor], rate: float) -> None:
        self.rate = rate
        self._weights = [] if rate == 1.0 else [weight.detach() for weight in weights]
        self.averages = [weight.clone() for weight in self._weights]

    def update(self) -> None:
        """Move the averages towards the weights."""
        if self.averages:
            torch._foreach_lerp_(self.averages, self._weights, self.rate)

    def load(self, averages: Sequence[Tensor]) -> None:
        """Restore averages; without any, as after a change of the rate, start from the weights."""
        if self.averages:
            torch._foreach_copy_(self.averages, list(averages) or self._weights)


@contextmanager
def in_place_of(weights: list[Tensor], others: list[Tensor]) -> Iterator[None]:
    """Let the weights have the values of `others` inside the context; without any, their own."""
    if not others:
        yield
        return
    kept = [weight.clone() for weight in weights]
    torch._foreach_copy_(weights, others)
    try:
        yield
    finally:
        torch._foreach_copy_(weights, kept)
