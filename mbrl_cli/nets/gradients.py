"""Gradients that are held within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shortened(gradients: Sequence[Tensor], longest: float) -> list[Tensor]:
    """Return gradients, in place, scaled down together so that their norm is `longest` at most."""
    found = list(gradients)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found)))
    torch._foreach_mul_(found, (longest / (norm + 1e-6)).clamp_max(1.0))
    return found
