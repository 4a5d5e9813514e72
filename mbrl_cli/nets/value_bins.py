"""Numbers of any size as distributions over bins: regression by classification.

Source: Schrittwieser et al. 2020 (MuZero, appendix F): h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x
makes large numbers small, and the two bins around h(x) share its weight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LIMIT = 40  # h of about 1,600
NUM_BINS = 2 * LIMIT + 1
SLOPE = 1e-3


def shrink(x: Tensor) -> Tensor:
    """Return h(x)."""
    return x.sign() * ((x.abs() + 1.0).sqrt() - 1.0) + SLOPE * x


def grow(y: Tensor) -> Tensor:
    """Return the x with h(x) = y."""
    root = ((1.0 + 4.0 * SLOPE * (y.abs() + 1.0 + SLOPE)).sqrt() - 1.0) / (2.0 * SLOPE)
    return y.sign() * (root.square() - 1.0)


def expected(logits: Tensor) -> Tensor:
    """Map logits [..., NUM_BINS] to the numbers [...] that they stand for."""
    bins = torch.arange(-LIMIT, LIMIT + 1, dtype=logits.dtype, device=logits.device)
    return grow(logits.softmax(-1) @ bins)


def two_hot_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the cross entropy [...] of logits [..., NUM_BINS] and wanted numbers [...]."""
    place = shrink(wanted).clamp(-LIMIT, LIMIT) + LIMIT  # [...] in bins
    below = place.floor().clamp(max=NUM_BINS - 2)
    share = place - below
    log_chance = F.log_softmax(logits, dim=-1)
    index = below.long()[..., None]
    low, high = (log_chance.gather(-1, index + step)[..., 0] for step in (0, 1))
    return -((1.0 - share) * low + share * high)
