"""Coloured noise: random numbers whose power spectrum is proportional to 1 / frequency^beta.

Source: Timmer and Koenig 1995, "On generating power law noise"; for plans, Pinneri et al. 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor


def coloured_noise_matrix(length: int, beta: float) -> Tensor:
    """Return the [length, length] matrix that turns white Gaussian noise into coloured noise.

    The product of white rows [..., length] with it has standard normal entries whose spectrum is
    proportional to 1 / f^beta. Frequency 0 is treated as the lowest positive one, 1 / length.
    """
    frequency = torch.fft.rfftfreq(length, dtype=torch.float64)  # in cycles per step
    amplitude = frequency.clamp_min(1.0 / length).pow(-0.5 * beta)
    # A circular filter: each row holds the same kernel, shifted by one step.
    kernel: Tensor = torch.fft.irfft(amplitude, n=length)  # [length]
    kernel = kernel / kernel.norm()  # so that every entry has variance 1
    step = torch.arange(length)
    return kernel[(step[:, None] - step) % length].float()
