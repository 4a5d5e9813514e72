"""Means of logged quantities over the updates since they were last logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Compute the means of named quantities every `log_every` environment steps.

    The sums are on the device, so an update does not wait for it.

    Args:
        names: of the quantities, in the order of the sums.
        log_every: environment steps between two logs.
        device: where the sums are.
    """

    def __init__(self, names: Sequence[str], log_every: int, device: torch.device) -> None:
        self.names = tuple(names)
        self.log_every = log_every
        self.sums = torch.zeros(len(self.names), device=device)
        self.count = 0  # updates in the sums
        self.last_log = 0  # environment step of the last log

    def add(self, values: Tensor) -> None:
        """Add the values of one update, a vector in the order of the names."""
        self.sums += values
        self.count += 1

    def due(self, env_step: int) -> bool:
        """Return whether there is something to log at this environment step."""
        return env_step - self.last_log >= self.log_every and self.count > 0

    def take(self, env_step: int) -> dict[str, float]:
        """Return the means by name and start new sums."""
        means = (self.sums / self.count).tolist()
        self._restart(env_step)
        return dict(zip(self.names, means, strict=True))

    def take_sums(self, env_step: int) -> dict[str, float]:
        """Return the sums by name and start new ones, for means over other counts than updates."""
        sums = self.sums.tolist()
        self._restart(env_step)
        return dict(zip(self.names, sums, strict=True))

    def _restart(self, env_step: int) -> None:
        self.last_log = env_step
        self.sums.zero_()
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counters."""
        return {"sums": self.sums.clone(), "count": self.count, "last_log": self.last_log}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.sums.copy_(state["sums"])
        self.count, self.last_log = state["count"], state["last_log"]
