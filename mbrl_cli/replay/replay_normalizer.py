"""The scale of observations in the replay, for networks of an agent."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import Normalizer


class ReplayNormalizer:
    """Normalize observations [..., O] by the mean and standard deviation of the replay.

    The scale is fitted again whenever the replay has doubled. In between it is constant, because
    the networks are trained with it.
    """

    def __init__(self, obs_dim: int, device: torch.device) -> None:
        self.normalizer = Normalizer(obs_dim, device)
        self.fitted_rows = 0  # rows of the replay at the last fit
        self.device = device

    def __call__(self, obs: Tensor) -> Tensor:
        """Return obs [..., O] normalized."""
        return self.normalizer(obs)

    @property
    def scales(self) -> list[Tensor]:
        """The scale; `refit` changes these tensors in place."""
        return [self.normalizer.mean, self.normalizer.std, self.normalizer.spread]

    def refit(self, replay: ReplayBuffer) -> None:
        """Fit the scale to all observations if the replay has doubled since the last fit."""
        if len(replay) and len(replay) >= 2 * self.fitted_rows:
            self.fitted_rows = len(replay)
            batch = replay.batch(np.arange(len(replay)), self.device)
            self.normalizer.fit(torch.cat([batch.obs, batch.next_obs]))

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the size of the replay at its last fit."""
        return {"normalizer": self.normalizer.state_dict(), "fitted_rows": self.fitted_rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.normalizer.load_state_dict(state["normalizer"])
        self.fitted_rows = state["fitted_rows"]
