"""AdamW (Loshchilov & Hutter 2019), by the fused kernel that `torch.optim` calls itself.

The first optimiser that is made with `torch.optim` imports torch's compiler, which doubles the
time of `import torch`. This class avoids the import. Without weight decay AdamW is Adam.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


class AdamW:
    """Update a list of parameters in place from their gradients."""

    def __init__(self, parameters: Sequence[Tensor], weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        device = self.parameters[0].device
        self.steps = [torch.zeros((), device=device) for _ in self.parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        """Take one step; `gradients` are in the order of the parameters."""
        torch._foreach_add_(self.steps, 1)
        torch._fused_adamw_(
            self.parameters, list(gradients), self.means, self.squares, [], self.steps,
            lr=learning_rate, beta1=BETAS[0], beta2=BETAS[1], weight_decay=self.weight_decay,
            eps=EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Return both moments of the gradients and the number of steps."""
        return {"means": self.means, "squares": self.squares, "step": self.steps[0]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        torch._foreach_copy_(self.means, list(state["means"]))
        torch._foreach_copy_(self.squares, list(state["squares"]))
        for step in self.steps:
            step.copy_(state["step"])
