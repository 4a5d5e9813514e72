"""Coloured noise: random numbers with a power spectrum that falls as 1 / frequency^beta.

Source: Timmer and Koenig 1995, "On generating power law noise"; for plans, Pinneri et al. 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor


def noise_colour(length: int, beta: float) -> Tensor:
    """Return the [length, length] matrix that turns white normal numbers into coloured ones.

    The product of white rows [..., length] with it has standard normal entries whose spectrum
    falls as 1 / f^beta. Frequency 0 counts as the lowest one above it, 1 / length.
    """
    frequency = torch.fft.rfftfreq(length, dtype=torch.float64)  # in cycles per step
    amplitude = frequency.clamp_min(1.0 / length).pow(-0.5 * beta)
    # A circular filter: each row holds the same bell, one step further on.
    bell: Tensor = torch.fft.irfft(amplitude, n=length)  # [length]
    bell = bell / bell.norm()  # so that every entry has variance 1
    step = torch.arange(length)
    return bell[(step[:, None] - step) % length].float()
