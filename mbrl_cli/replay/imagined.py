"""Storage of imagined transitions in a preallocated tensor on the model's device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_cli.types import Batch


class ImaginedBuffer:
    """Ring buffer of the last `capacity` imagined transitions.

    A transition is one row of a matrix: [obs O | action A | reward | next_obs O | terminated].
    """

    def __init__(self, capacity: int, obs_dim: int, action_dim: int, device: torch.device) -> None:
        self.capacity = capacity
        self.total_added = 0
        self._columns = [obs_dim, action_dim, 1, obs_dim, 1]
        self._rows = torch.zeros(capacity, sum(self._columns), device=device)

    def __len__(self) -> int:
        return min(self.total_added, self.capacity)

    def add(self, batch: Batch) -> None:
        """Store transitions with fields [m, ...]; if m exceeds the capacity, the last ones."""
        rows = torch.cat(
            [
                batch.obs, batch.action, batch.reward[:, None], batch.next_obs,
                batch.terminated[:, None],
            ],
            dim=-1,
        )[-self.capacity :]  # fmt: skip
        start = self.total_added + len(batch.reward) - len(rows)
        index = torch.arange(start, start + len(rows), device=rows.device) % self.capacity
        self._rows.index_copy_(0, index, rows)
        self.total_added += len(batch.reward)

    def batch(self, rows: Tensor) -> Batch:
        """Return the transitions at `rows` [...]; the fields have the same leading axes."""
        flat = self._rows[rows.to(self._rows.device)]  # [..., O+A+1+O+1]
        obs, action, reward, next_obs, terminated = torch.split(flat, self._columns, dim=-1)
        return Batch(obs, action, reward[..., 0], next_obs, terminated[..., 0])

    def state_dict(self) -> dict[str, Any]:
        """Return the stored transitions and the number of those that were ever added."""
        return {"rows": self._rows[: len(self)], "total_added": self.total_added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned; the capacity must be the same."""
        self.total_added = state["total_added"]
        self._rows[: len(self)] = state["rows"]
