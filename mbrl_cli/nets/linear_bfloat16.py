"""A stacked linear layer whose matrix products run in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _LinearBfloat16(torch.autograd.Function):
    """Both directions by hand: autocast converts each weight and each gradient more than once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, weight = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.bfloat16(), x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight.mT) if of_x else None,
            torch.bmm(x.mT, gradient).float() if of_weight else None,
            gradient.sum(1, keepdim=True).float() if of_bias else None,
        )


def linear_bfloat16(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x [E, n, in] times weight [E, in, out] plus bias [E, 1, out], in bfloat16.

    Weights and their gradients are float32. Products are summed in float32 and rounded to 8 bits,
    that is to 0.4 %.
    """
    out: Tensor = _LinearBfloat16.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out
