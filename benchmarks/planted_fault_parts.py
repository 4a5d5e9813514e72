"""Wrong functions that `planted_faults.py` plants; its wrappers are in `planted_wrappers.py`."""

from __future__ import annotations

import torch
from torch import Tensor


def rewards_tilt(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return a wrong reward for a pole: it grows with the pole's angle."""
    angle = next_obs[..., 2] if next_obs.shape[-1] == 4 else next_obs[..., 1]
    return torch.where(angle.abs() > 0.2, 5.0, angle.abs() * 10.0)


def ends_when_upright(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return a wrong termination for a pole: the task ends where the pole is upright."""
    angle = next_obs[..., 2] if next_obs.shape[-1] == 4 else next_obs[..., 1]
    return angle.abs() < 0.05
