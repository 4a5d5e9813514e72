"""Normalization of vectors by the mean and standard deviation of each entry."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.errors import Diverged

# Relative to the size of the numbers; a constant in float32 has a standard deviation of up to 5e-7.
ROUNDING_ERROR = 1e-6


class Normalizer:
    """Shift and scale vectors [..., D] to mean 0 and standard deviation 1, and back.

    Whether an entry is constant does not depend on its unit: the standard deviation is compared
    with the size of the numbers that it was computed from. A constant entry is divided by its size,
    or by 1 if it is zero, and the result is clipped to [-1, 1], because the data do not tell how
    much it may vary. `restore` always returns its constant value.

    Attributes:
        mean: [D].
        std: [D] divisor.
        spread: [D] factor of `restore`: the divisor, or 0 for a constant entry.
    """

    def __init__(self, dim: int, device: torch.device | str = "cpu") -> None:
        self.mean = torch.zeros(dim, device=device)  # [D]
        self.std = torch.ones(dim, device=device)  # [D]
        self.spread = torch.ones(dim, device=device)  # [D]
        self._any_constant = False

    def fit(self, x: Tensor, size: Tensor | None = None) -> None:
        """Set mean and standard deviation to those of x [n, D].

        Args:
            x: the data.
            size: [D] size of the numbers from which x was computed; None: that of the mean.

        Raises:
            Diverged: if a mean or standard deviation is not finite in float32.
        """
        mean = x.mean(0)
        std = x.std(0, unbiased=False)
        finite = mean.isfinite() & std.isfinite()
        if not bool(finite.all()):
            entry = int((~finite).nonzero()[0])
            raise Diverged(
                f"observations or rewards: entry {entry} has values up to "
                f"{float(x[:, entry].abs().max()):.2g}, too large for float32; "
                "scale them with a wrapper (env.wrappers)"
            )
        constant = std <= ROUNDING_ERROR * (mean.abs() if size is None else size)
        # In place: a recorded CUDA graph reads this memory.
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant, _size_or_one(mean), std))
        self.spread.copy_(std.masked_fill(constant, 0.0))
        self._any_constant = bool(constant.any())

    def __call__(self, x: Tensor) -> Tensor:
        """Return x [..., D] normalized."""
        normalized = (x - self.mean) / self.std
        if self._any_constant:
            normalized = torch.where(self.spread == 0.0, normalized.clamp(-1.0, 1.0), normalized)
        return normalized

    def restore(self, normalized: Tensor) -> Tensor:
        """Return the vectors [..., D] whose normalized values are given."""
        return normalized * self.spread + self.mean

    def state_dict(self) -> dict[str, Tensor]:
        """Return mean, divisor and factor."""
        return {"mean": self.mean.clone(), "std": self.std.clone(), "spread": self.spread.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the values that `state_dict` returned, on this normalizer's device."""
        self.mean.copy_(state["mean"])
        self.std.copy_(state["std"])
        self.spread.copy_(state["spread"])
        self._any_constant = bool((self.spread == 0.0).any())


def scale_of(x: Tensor) -> Tensor:
    """Return the standard deviation [D] of x [n, D]; for constant entries the size, or 1 for 0."""
    std, mean = x.std(0, unbiased=False), x.mean(0)
    return torch.where(std > ROUNDING_ERROR * mean.abs(), std, _size_or_one(mean))


def _size_or_one(x: Tensor) -> Tensor:
    return torch.where(x == 0.0, torch.ones_like(x), x.abs())
