"""Adam whose moments are there from the start, so that what a run saves has one form."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


def adam(learning_rates: Mapping[nn.Module, float]) -> torch.optim.Adam:
    """Return an optimiser of these modules, each with its own learning rate."""
    groups = [
        {"params": list(module.parameters()), "lr": rate} for module, rate in learning_rates.items()
    ]
    optimiser = torch.optim.Adam(groups, fused=True)
    for parameter in (parameter for module in learning_rates for parameter in module.parameters()):
        optimiser.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimiser
