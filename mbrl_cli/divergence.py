"""Detection of training that diverged: losses, actions and weights that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.errors import Diverged


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether all entries of all tensors are finite; waits for the device once."""
    checks = [tensor.detach().isfinite().all() for tensor in tensors]
    return bool(torch.stack(checks).all()) if checks else True


def refuse_nonfinite_losses(metrics: Mapping[str, float], advice: str) -> None:
    """Raise Diverged if a logged loss is not finite.

    Losses of a model's fit that was rolled back are excepted: the agent counts such fits.
    """
    rolled_back = bool(metrics.get("model/rolled_back"))
    for tag, value in metrics.items():
        excepted = rolled_back and tag.startswith("model/")
        if "loss" in tag and not math.isfinite(value) and not excepted:
            raise Diverged(f"{tag} is {value}: training diverged; {advice}")


def refuse_nonfinite_action(action: np.ndarray, advice: str) -> None:
    """Raise Diverged if an action that a policy returned is not finite."""
    if not np.isfinite(action).all():
        raise Diverged(f"the agent's action is not finite: training diverged; {advice}")
