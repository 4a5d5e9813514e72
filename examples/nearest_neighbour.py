"""A model: predict the change of the observation that followed the most similar transition."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_cli.models.accuracy import measure_accuracy
from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import Normalizer
from mbrl_cli.types import Count, EnvSpec


class NearestNeighbour(MarkovModel):
    """Average the k stored transitions whose observation and action are nearest.

    Axes: n stored transitions, M rows, P particles, O obs_dim, A action dim.

    Args:
        spec: sizes of the environment.
        device: where the transitions live.
        neighbours: k.
    """

    def __init__(self, spec: EnvSpec, device: torch.device, neighbours: Count = 3) -> None:
        super().__init__(spec, device)
        self.neighbours = neighbours
        self.normalizer = Normalizer(spec.obs_dim, device)
        outputs = spec.obs_dim + 2  # change of the observation, reward, continues
        self.inputs = torch.zeros(0, spec.obs_dim + spec.action.dim, device=device)  # [n, O+A]
        self.outputs = torch.zeros(0, outputs, device=device)  # [n, O+2]

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Store the training transitions; return the accuracy on held-out episodes."""
        rows, _ = replay.split()
        batch = replay.batch(rows, self.device)
        self.normalizer.fit(batch.obs)
        self.inputs = torch.cat([self.normalizer(batch.obs), batch.action], dim=-1)
        change, continues = batch.next_obs - batch.obs, 1.0 - batch.terminated
        self.outputs = torch.cat([change, batch.reward[:, None], continues[:, None]], dim=-1)
        self.is_fitted = True
        accuracy = measure_accuracy(self, replay, 5, generator)
        self.errors = accuracy.errors
        return accuracy.metrics

    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Map obs [M, P, O] and action [M, P, A] to next_obs [M, P, O] and reward [M, P]."""
        predicted = self._nearest(obs, action)  # [M, P, O+2]
        return obs + predicted[..., :-2], predicted[..., -2]

    def continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the share of the neighbours after which the task continued [M, P]."""
        return self._nearest(obs, action)[..., -1]

    def _nearest(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the mean outputs [..., O+2] of the nearest transitions."""
        if not len(self.inputs):
            return torch.zeros(*obs.shape[:-1], self.outputs.shape[-1], device=self.device)
        query = torch.cat([self.normalizer(obs), action], dim=-1)  # [..., O+A]
        distance = torch.cdist(query.flatten(0, -2), self.inputs)  # [m, n]
        count = min(self.neighbours, len(self.inputs))
        rows = distance.topk(count, largest=False).indices  # [m, k]
        return self.outputs[rows].mean(1).view(*obs.shape[:-1], -1)

    def state_dict(self) -> dict[str, Any]:
        """Return the stored transitions and the scale of the observations."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "normalizer": self.normalizer.state_dict(),
            "is_fitted": self.is_fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.inputs = state["inputs"].to(self.device)
        self.outputs = state["outputs"].to(self.device)
        self.normalizer.load_state_dict(state["normalizer"])
        self.is_fitted = state["is_fitted"]
