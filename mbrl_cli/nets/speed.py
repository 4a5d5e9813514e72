"""Ways to make networks faster that cost exactness or a wait: bfloat16, and torch's compiler."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]
MARK = "is_narrow"
MOST_SIZES = 64  # for which networks of a kind are translated


def narrowable(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a network's `forward` multiply in bfloat16 where `speed_up` asks for it.

    Only what is inside: it is given and returns float32, so losses, distributions and all that is
    carried from step to step stay as exact as they were.
    """

    @functools.wraps(forward)
    def run(self: nn.Module, *inputs: Tensor) -> Tensor:
        if not getattr(self, MARK, False):
            return forward(self, *inputs)
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            return forward(self, *inputs).float()

    return run


def speed_up(net: nn.Module, precision: Precision, compiled: bool) -> None:
    """Set how all networks in `net` that have a `forward` of their own are run.

    Args:
        net: networks, whose weights stay float32 in any case.
        precision: of their products.
        compiled: translate each for the shapes that it meets, at its first calls.
    """
    if compiled:
        # All networks of a kind share one limit on how many sizes they are translated for.
        torch._dynamo.config.cache_size_limit = MOST_SIZES
    for module in net.modules():
        setattr(module, MARK, precision == "bfloat16")
        if compiled and _has_forward(module):
            module.compile()


def compiler_fault() -> str | None:
    """Return why torch cannot compile here, without a C++ compiler, say; None: it can."""
    from torch._dynamo.exc import BackendCompilerFailed

    try:
        torch.compile(torch.neg)(torch.ones(1))
    except BackendCompilerFailed as error:
        return str(error).strip().splitlines()[0]
    return None


def _has_forward(module: nn.Module) -> bool:
    own: Any = type(module).forward
    return own is not nn.Module.forward
