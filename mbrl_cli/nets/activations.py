"""Activation functions by the name they have in configs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu, "relu": torch.relu, "tanh": torch.tanh, "elu": F.elu,
}  # fmt: skip
# For preallocated buffers, without autograd, which needs the input of an activation.
ACTIVATIONS_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": lambda x: F.silu(x, inplace=True),
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "elu": lambda x: F.elu(x, inplace=True),
}
