"""Gradient clipping by global norm, in place and without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def clip_gradients(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    """Scale all gradients in place by one factor so that their joint norm is at most `max_norm`."""
    clipped = list(gradients)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(clipped)))
    torch._foreach_mul_(clipped, (max_norm / (norm + 1e-6)).clamp_max(1.0))
    return clipped
