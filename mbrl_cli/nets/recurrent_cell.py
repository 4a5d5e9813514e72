"""The deterministic step of a latent state: a gated recurrent unit with LayerNorm (DreamerV2).

It is a function of its weights, because `LatentDynamics` and `LatentFilter` both call it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class CellWeights(NamedTuple):
    """Weights of the cell.

    Axes: H hidden, D deter, Z stoch, G gates: 3, or 1 without recurrence.
    """

    stoch: Tensor  # [H, Z] maps stoch to the input layer
    input_scale: Tensor  # [H] LayerNorm of the input layer
    input_shift: Tensor  # [H]
    gates: Tensor  # [G * D, H + D]; without recurrence [D, H]
    gates_scale: Tensor  # [G * D] LayerNorm of the gates
    gates_shift: Tensor  # [G * D]


def next_deter(deter: Tensor, product: Tensor, weights: CellWeights, recurrent: bool) -> Tensor:
    """Return the next deter [..., D].

    Args:
        deter: before the step [..., D].
        product: of stoch and action with the weights of the input layer [..., H].
        weights: of the rest of the cell.
        recurrent: if False, the result depends on `product` alone.
    """
    in_place = not torch.is_grad_enabled()  # autograd needs the input of SiLU
    normed = F.layer_norm(product, product.shape[-1:], weights.input_scale, weights.input_shift)
    x = F.silu(normed, inplace=in_place)  # [..., H]
    if recurrent:
        x = torch.cat([x, deter], -1)  # [..., H + D]
    gates = F.linear(x, weights.gates)  # [..., G * D]
    gates = F.layer_norm(gates, gates.shape[-1:], weights.gates_scale, weights.gates_shift)
    gates = gates.to(deter.dtype)  # the recurrent state stays float32 under autocast
    if not recurrent:
        return F.silu(gates, inplace=in_place)
    reset, candidate, update = gates.chunk(3, -1)  # [..., D] each
    candidate = fast_tanh(torch.sigmoid(reset) * candidate)
    # The bias of -1 makes an untrained unit keep most of its state (DreamerV2).
    return torch.lerp(deter, candidate, torch.sigmoid(update - 1.0))


def fast_tanh(x: Tensor) -> Tensor:
    """Return tanh(x), four times as fast as torch's.

    The absolute error is that of float32 near 1, so small results have a larger relative error.
    """
    return torch.sigmoid(2.0 * x).mul(2.0).sub(1.0)
