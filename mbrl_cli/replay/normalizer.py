"""Per-entry mean and standard deviation of a set of vectors."""

from __future__ import annotations

import torch
from torch import Tensor


class Normalizer:
    """Shift and scale vectors [..., D] to mean 0 and standard deviation 1.

    An entry that never varied keeps the scale 1, so that a constant is predicted as that constant.
    """

    def __init__(self, dim: int, device: torch.device | str = "cpu") -> None:
        self.mean = torch.zeros(dim, device=device)  # [D]
        self.std = torch.ones(dim, device=device)  # [D]

    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation from x [n, D]."""
        self.mean = x.mean(0)
        std = x.std(0, unbiased=False)
        # float32 noise on a constant is no variation
        constant = std <= 1e-6 * (1.0 + self.mean.abs())
        self.std = torch.where(constant, torch.ones_like(std), std)

    def __call__(self, x: Tensor) -> Tensor:
        """Return x [..., D] normalised."""
        return (x - self.mean) / self.std

    def state_dict(self) -> dict[str, Tensor]:
        """Return the statistics."""
        return {"mean": self.mean, "std": self.std}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the statistics on this normalizer's device."""
        self.mean = state["mean"].to(self.mean.device)
        self.std = state["std"].to(self.std.device)
