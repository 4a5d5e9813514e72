"""The range of values, by which a policy's objective is scaled (TD-MPC2, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

PERCENTILES = 0.05, 0.95  # their distance is the range
UPDATE_RATE = 0.01  # of the moving average
MIN_RANGE = 1.0  # smaller ranges count as this one, so that noise is not amplified


class ValueRange:
    """Moving average of the distance between the 5th and the 95th percentile of values.

    Attributes:
        range: the average, a tensor without axes.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.range = torch.ones((), device=device)
        self._percentiles = torch.tensor(PERCENTILES, device=device)

    @torch.no_grad()
    def update(self, values: Tensor) -> None:
        """Move the average towards the range of values [n]."""
        low, high = values.quantile(self._percentiles)
        self.range.lerp_((high - low).clamp_min(MIN_RANGE), UPDATE_RATE)
