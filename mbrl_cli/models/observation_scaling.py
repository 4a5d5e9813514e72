"""Conversion of observations to the units of a latent model's networks, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_cli.nets.two_hot import symexp, symlog
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import Normalizer
from mbrl_cli.types import EnvSpec


class ObservationScaling:
    """Normalize vectors and apply symlog to them; scale images from [0, 255] to [-0.5, 0.5].

    Axes: O obs_dim.
    """

    def __init__(self, spec: EnvSpec, device: torch.device) -> None:
        self.is_image = spec.obs_shape is not None
        self.device = device
        self.normalizer = Normalizer(spec.obs_dim, device)
        self.fitted_rows = 0  # transitions in the replay when the normalizer was fitted
        self._integer = torch.tensor(spec.obs_integer, device=device)  # [O]

    def refit(self, replay: ReplayBuffer) -> None:
        """Fit the normalizer to the training episodes if the replay has doubled since the last fit.

        Random actions reach only a part of the observations that a good policy reaches, and symlog
        compresses observations that are many standard deviations from the mean. Between fits the
        scale is constant, because the networks are trained with it.
        """
        if not self.is_image and len(replay) >= 2 * self.fitted_rows:
            self.fitted_rows = len(replay)
            train_rows = replay.split()[0]
            self.normalizer.fit(replay.batch(train_rows, self.device).obs)

    def to_network(self, obs: Tensor) -> Tensor:
        """Map observations [..., O] to the units of the networks."""
        if self.is_image:
            return scale_images(obs)
        return symlog(self.normalizer(obs))

    def from_network(self, decoded: Tensor) -> Tensor:
        """Map outputs of the decoder [..., O] to the units of the environment."""
        if self.is_image:
            return ((decoded + 0.5) * 255.0).round().clamp(0.0, 255.0)
        obs = self.normalizer.restore(symexp(decoded))
        return torch.where(self._integer, obs.round(), obs)

    def state_dict(self) -> dict[str, Any]:
        """Return the normalizer and the size of the replay at its last fit."""
        return {"normalizer": self.normalizer.state_dict(), "fitted_rows": self.fitted_rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.normalizer.load_state_dict(state["normalizer"])
        self.fitted_rows = state["fitted_rows"]


def scale_images(images: Tensor) -> Tensor:
    """Map images [..., O] from [0, 255] to [-0.5, 0.5]."""
    return images / 255.0 - 0.5
