"""One episode that was played for a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Episode:
    """An episode of T steps; O obs_dim, A encoded action dim.

    Attributes:
        seed: reset seed.
        obs: [T + 1, O], the last one after the last step.
        action: [T, A] encoded.
        reward: [T].
        terminated: whether the last step ended the task.
        truncated: whether the environment's time limit ended the episode. Neither: it was cut by
            the diagnosis.
        predicted_return: [T], what the policy predicted at each decision; NaN where it predicted
            nothing.
    """

    seed: int
    obs: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float64]
    terminated: bool
    truncated: bool
    predicted_return: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def total(self) -> float:
        """The undiscounted return."""
        return float(self.reward.sum())
