"""Random shifts of images, an augmentation for encoders (Yarats et al. 2022, DrQ-v2, 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_SHIFT = 1 / 16  # of the rows or columns; 4 of 64 pixels


def random_shift(images: Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Shift images [T, n, C * S * S] by whole pixels; pixels at the border are repeated.

    All T images of a sequence are shifted alike, so their changes over time stay the same.

    Args:
        images: flat images of n sequences.
        shape: (C, S, S).
        generator: of the 2 n shifts; its device is the CPU.
    """
    steps, num = images.shape[:2]
    _, rows, columns = shape
    pad = max(1, round(rows * MAX_SHIFT))
    shift = torch.randint(-pad, pad + 1, (2, num, 1), generator=generator)
    row = (torch.arange(rows) + shift[0]).clamp(0, rows - 1).to(images.device)  # [n, S]
    column = (torch.arange(columns) + shift[1]).clamp(0, columns - 1).to(images.device)
    pixels = images.view(steps, num, *shape).permute(1, 3, 4, 0, 2)  # [n, S, S, T, C]
    sequence = torch.arange(num, device=images.device)[:, None, None]
    shifted = pixels[sequence, row[:, :, None], column[:, None, :]]  # [n, S, S, T, C]
    return shifted.permute(3, 0, 4, 1, 2).reshape(images.shape)
