"""Linear Markov model: ridge regression in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_cli.models.accuracy import measure_accuracy
from mbrl_cli.models.markov import MarkovModel, Prediction
from mbrl_cli.models.targets import Targets
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Batch, CountOrZero, EnvSpec, PositiveFloat


class Linear(MarkovModel):
    """Predict change of the observation, reward and continues as W [obs, action, 1].

    The chance to go on is the fitted 0/1 target clipped to [0, 1] (a linear probability model):
    crude, but it is what a linear model can say in closed form.
    """

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        ridge: PositiveFloat,
        accuracy_horizon: CountOrZero,
    ) -> None:
        super().__init__(spec, device)
        self.ridge = ridge
        self.accuracy_horizon = accuracy_horizon
        self.targets = Targets(spec, device)
        rows, columns = spec.obs_dim + spec.action.dim + 1, spec.obs_dim + 2
        self.weight = torch.zeros(rows, columns, device=device)  # [O+A+1, O+2]
        self.residual_std = torch.ones(spec.obs_dim, device=device)

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Solve (X'X + ridge n I) W = X'Y on the training episodes."""
        train_rows, holdout_rows = replay.split()
        train = replay.batch(train_rows, self.device)
        self.targets.fit(train)
        x = self._features(train.obs, train.action).double()  # [n, O+A+1]
        y = self._wanted(train).double()  # [n, O+2]
        penalty = self.ridge * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        self.weight = torch.linalg.solve(x.T @ x + penalty, x.T @ y).float()
        self.is_fitted = True
        metrics = {"train_loss": self._loss(x.float(), y.float())}
        measured = train
        if len(holdout_rows):
            measured = replay.batch(holdout_rows, self.device)
            features = self._features(measured.obs, measured.action)
            metrics["holdout_loss"] = self._loss(features, self._wanted(measured))
        error = self.predict(measured.obs, measured.action).mean - measured.next_obs
        self.residual_std = error.square().mean(0).sqrt().clamp_min(1e-8)
        accuracy = measure_accuracy(self, replay, self.accuracy_horizon, generator)
        self.errors = accuracy.errors
        return metrics | accuracy.metrics

    def _features(self, obs: Tensor, action: Tensor) -> Tensor:
        inputs = self.targets.inputs(obs, action)
        return torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)

    def _wanted(self, batch: Batch) -> Tensor:
        targets = self.targets.transitions(batch)[1]
        return torch.cat([targets, 1.0 - batch.terminated[:, None]], dim=-1)  # [n, O+2]

    def _loss(self, x: Tensor, y: Tensor) -> float:
        return float((x @ self.weight - y).square().mean())

    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Predict the next observation and the reward; see `MarkovModel.transition`."""
        out = self._features(obs, action) @ self.weight  # [M, P, O+2]
        obs_dim = obs.shape[-1]
        delta = out[..., :obs_dim] * self.targets.delta.std + self.targets.delta.mean
        reward = out[..., obs_dim] * self.targets.reward.std + self.targets.reward.mean
        return obs + delta, self.targets.limit_reward(reward)

    def continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the continue probability; see `MarkovModel.continues`."""
        return (self._features(obs, action) @ self.weight[:, -1]).clamp(0.0, 1.0)

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the prediction with the standard deviation of its residuals."""
        delta = self._features(obs, action) @ self.weight[:, : obs.shape[-1]]
        mean = obs + delta * self.targets.delta.std + self.targets.delta.mean
        return Prediction(mean, self.residual_std.expand_as(mean), torch.zeros_like(mean[:, 0]))

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and statistics."""
        return {
            "weight": self.weight,
            "residual_std": self.residual_std,
            "targets": self.targets.state_dict(),
            "is_fitted": self.is_fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.weight = state["weight"].to(self.device)
        self.residual_std = state["residual_std"].to(self.device)
        self.targets.load_state_dict(state["targets"])
        self.is_fitted = state["is_fitted"]
