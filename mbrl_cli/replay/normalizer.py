"""Normalization of vectors by the mean and standard deviation of each entry."""

from __future__ import annotations

import torch
from torch import Tensor


class Normalizer:
    """Shift and scale vectors [..., D] to mean 0 and standard deviation 1.

    A constant entry has the scale 1, so that it is not divided by zero.
    """

    def __init__(self, dim: int, device: torch.device | str = "cpu") -> None:
        self.mean = torch.zeros(dim, device=device)  # [D]
        self.std = torch.ones(dim, device=device)  # [D]

    def fit(self, x: Tensor) -> None:
        """Set mean and standard deviation to those of x [n, D]."""
        self.mean = x.mean(0)
        std = x.std(0, unbiased=False)
        # A constant in float32 can have a small standard deviation from rounding.
        constant = std <= 1e-6 * (1.0 + self.mean.abs())
        self.std = torch.where(constant, torch.ones_like(std), std)

    def __call__(self, x: Tensor) -> Tensor:
        """Return x [..., D] normalized."""
        return (x - self.mean) / self.std

    def state_dict(self) -> dict[str, Tensor]:
        """Return mean and standard deviation."""
        return {"mean": self.mean, "std": self.std}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the values that `state_dict` returned, on this normalizer's device."""
        self.mean = state["mean"].to(self.mean.device)
        self.std = state["std"].to(self.std.device)
