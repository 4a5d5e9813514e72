"""Angles without limits, observed as cosine and sine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class CyclicAngles(gymnasium.ObservationWrapper[NDArray[Any], Any, Any]):
    """Observe angles as cosine and sine, so that a joint looks the same after a whole turn.

    The observation is one vector, in which the parts of a Dict or Tuple follow each other. Each
    angle is replaced by its cosine, and the sines are appended in the order of `entries`.

    Args:
        env: the environment.
        entries: places of the angles in the vector, from 0 on; the angles are in radians.

    Raises:
        ValueError: if the observation is no vector of fixed length, or has no such entry.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], entries: Sequence[int]) -> None:
        super().__init__(env)
        self._entries = list(entries)
        flat = spaces.flatten_space(env.observation_space)
        if not isinstance(flat, spaces.Box):
            raise ValueError(f"needs vectors, and the environment observes {env.observation_space}")
        size = flat.shape[0]
        if (
            not self._entries
            or not all(isinstance(e, int) and 0 <= e < size for e in self._entries)
            or len(set(self._entries)) < len(self._entries)
        ):
            raise ValueError(
                f"entries={self._entries}: must be different numbers from 0 to {size - 1}"
            )
        dtype: Any = flat.dtype
        ones = np.ones(len(self._entries), dtype)
        self.observation_space = spaces.Box(
            self._replaced(flat.low, -ones, -ones),
            self._replaced(flat.high, ones, ones),
            dtype=dtype,
        )

    def observation(self, observation: Any) -> NDArray[Any]:
        """Return the vector of an observation of the environment."""
        vector: Any = spaces.flatten(self.env.observation_space, observation)
        angles = vector[self._entries]
        return self._replaced(vector, np.cos(angles), np.sin(angles))

    def _replaced(
        self, vector: NDArray[Any], cosines: NDArray[Any], sines: NDArray[Any]
    ) -> NDArray[Any]:
        """Return a new vector with these cosines in the places of the angles, and the sines."""
        vector = vector.copy()
        vector[self._entries] = cosines
        return np.append(vector, sines)
