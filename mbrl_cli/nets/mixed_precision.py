"""Run a network's matrix products in bfloat16; everything outside the network stays float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]
FLAG = "uses_bfloat16"  # attribute of a module, set by `set_precision`


def mixed_precision(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorate a network's `forward` so that `set_precision` can switch it to bfloat16.

    Inputs, outputs and weights stay float32. Losses, distributions and recurrent states are
    therefore computed in float32.
    """

    @functools.wraps(forward)
    def run(self: nn.Module, *inputs: Tensor) -> Tensor:
        if not getattr(self, FLAG, False):
            return forward(self, *inputs)
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            return forward(self, *inputs).float()

    return run


def set_precision(net: nn.Module, precision: Precision) -> None:
    """Set the precision of the matrix products of all decorated networks in `net`."""
    for module in net.modules():
        setattr(module, FLAG, precision == "bfloat16")
