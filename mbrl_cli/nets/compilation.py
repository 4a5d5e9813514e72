"""Compile networks with `torch.compile`, or find out why that fails."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

CACHE_SIZE_LIMIT = 64  # compiled variants of one `forward`, for different shapes and modules


def compile_networks(net: nn.Module) -> None:
    """Compile every module in `net` that defines `forward`; each compiles at its first call."""
    # All modules of one class share this limit; torch's default of 8 is too small for them.
    torch._dynamo.config.cache_size_limit = CACHE_SIZE_LIMIT
    for module in net.modules():
        if _defines_forward(module):
            module.compile()


def find_compiler_error() -> str | None:
    """Return why torch cannot compile here, for example no C++ compiler; None if it can."""
    from torch._dynamo.exc import BackendCompilerFailed

    try:
        torch.compile(torch.neg)(torch.ones(1))
    except BackendCompilerFailed as error:
        return str(error).strip().splitlines()[0]
    return None


def _defines_forward(module: nn.Module) -> bool:
    forward: Any = type(module).forward
    return forward is not nn.Module.forward
