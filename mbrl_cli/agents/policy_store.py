"""The policies that searches recommended at the states of the replay."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SPARE_ROWS = 1000  # rows that are allocated in advance


class PolicyStore:
    """Hold the latest search policy of each row of the replay buffer.

    Axes: n sequences, L consecutive rows, A actions.

    Args:
        num_actions: A.
    """

    def __init__(self, num_actions: int) -> None:
        self.policies = np.zeros((0, num_actions), np.float32)  # [rows, A] NaN: not searched yet

    def put(self, rows: np.ndarray, policies: np.ndarray) -> None:
        """Store policies [n, A] at `rows` [n] of the replay, in place of older ones."""
        missing = int(rows.max()) + 1 - len(self.policies)
        if missing > 0:
            shape = (missing + SPARE_ROWS, self.policies.shape[1])
            self.policies = np.concatenate([self.policies, np.full(shape, np.nan, np.float32)])
        self.policies[rows] = policies

    def get(self, rows: np.ndarray) -> Tensor:
        """Return the policies [n, L, A] at `rows` [n, L]; 0 where no state was searched."""
        policies = np.zeros((*rows.shape, self.policies.shape[1]), np.float32)
        stored = rows < len(self.policies)
        policies[stored] = np.nan_to_num(self.policies[rows[stored]])
        return torch.from_numpy(policies)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the policies."""
        return {"policies": torch.from_numpy(self.policies.copy())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the values that `state_dict` returned."""
        self.policies = state["policies"].cpu().numpy().copy()
