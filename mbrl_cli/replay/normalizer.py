"""Normalization of vectors by the mean and standard deviation of each entry."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.errors import Diverged

# Relative to the size of the numbers; a constant in float32 has a standard deviation of up to 5e-7.
ROUNDING_ERROR = 1e-6
# Means up to this size are subtracted from a constant entry with an error below 0.05.
LARGE_MEAN = 1e5


class Normalizer:
    """Shift and scale vectors [..., D] to mean 0 and standard deviation 1.

    A constant entry has the scale 1, so that it is not divided by zero. Whether an entry is
    constant does not depend on its unit: the standard deviation is compared with the size of the
    numbers that it was computed from.
    """

    def __init__(self, dim: int, device: torch.device | str = "cpu") -> None:
        self.mean = torch.zeros(dim, device=device)  # [D]
        self.std = torch.ones(dim, device=device)  # [D]

    def fit(
        self, x: Tensor, size: Tensor | None = None, constant_std: Tensor | None = None
    ) -> None:
        """Set mean and standard deviation to those of x [n, D].

        Args:
            x: the data.
            size: [D] size of the numbers from which x was computed; None: that of the mean.
            constant_std: [D] scale of entries that are constant; None: 1, or more for large means.

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
        if constant_std is None:
            constant_std = (mean.abs() / LARGE_MEAN).clamp_min(1.0)
        # In place: a recorded CUDA graph reads this memory.
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant, constant_std, std))

    def __call__(self, x: Tensor) -> Tensor:
        """Return x [..., D] normalized."""
        return (x - self.mean) / self.std

    def state_dict(self) -> dict[str, Tensor]:
        """Return mean and standard deviation."""
        return {"mean": self.mean.clone(), "std": self.std.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the values that `state_dict` returned, on this normalizer's device."""
        self.mean.copy_(state["mean"])
        self.std.copy_(state["std"])


def scale_of(x: Tensor) -> Tensor:
    """Return the standard deviation [D] of x [n, D], or 1 for constant entries."""
    std = x.std(0, unbiased=False)
    return torch.where(std > ROUNDING_ERROR * x.mean(0).abs(), std, torch.ones_like(std))
