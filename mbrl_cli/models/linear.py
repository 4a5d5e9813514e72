"""Linear Markov model: ridge regression in closed form."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from mbrl_cli.models.accuracy import measure_accuracy, residual_std
from mbrl_cli.models.markov import MarkovModel, Prediction
from mbrl_cli.models.transition_normalizer import TransitionNormalizer
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Batch, CountOrZero, EnvSpec, PositiveFloat


class Linear(MarkovModel):
    """Predict the change of the observation, the reward and `continues` as [obs, action, 1] W.

    The continue probability is a linear probability model: the regression of 1 (continued) and 0
    (terminated), clipped to [0, 1].

    Axes: M rows, P particles, O obs_dim, A action dim, n transitions.
    """

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        ridge: PositiveFloat = 1e-6,
        accuracy_horizon: CountOrZero = 25,
    ) -> None:
        """Set all weights to zero.

        Args:
            spec: the environment.
            device: where the weights live.
            generator: unused; nothing is drawn.
            ridge: penalty on squared weights, per transition.
            accuracy_horizon: longest k of the k-step error; 0: only 1 and 5.
        """
        super().__init__(spec, device)
        self.ridge = ridge
        self.accuracy_horizon = accuracy_horizon
        self.normalizer = TransitionNormalizer(spec, device)
        rows, columns = spec.obs_dim + spec.action.dim + 1, spec.obs_dim + 2
        self.weight = torch.zeros(rows, columns, device=device)  # [O+A+1, O+2]
        self.residual_std = torch.ones(spec.obs_dim, device=device)  # [O]

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Solve (X'X + ridge n I) W = X'Y on the training episodes.

        If the solution is not finite, the weights from before the fit are restored.
        """
        train_rows, holdout_rows = replay.split()
        train = replay.batch(train_rows, self.device)
        before = {**copy.deepcopy(self.state_dict()), "is_fitted": True}
        self.normalizer.fit(train)
        x = self._features(train.obs, train.action).double()  # [n, O+A+1]
        y = self._targets(train).double()  # [n, O+2]
        penalty = self.ridge * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        self.weight = torch.linalg.solve(x.T @ x + penalty, x.T @ y).float()
        self.is_fitted = True
        metrics = {"train_loss": self._loss(train)}
        if not math.isfinite(metrics["train_loss"]):
            self.load_state_dict(before)
            return metrics | {"rolled_back": 1.0}
        measured = train
        if len(holdout_rows):
            measured = replay.batch(holdout_rows, self.device)
            metrics["holdout_loss"] = self._loss(measured)
        self.residual_std = residual_std(self, measured, self.normalizer.obs.std)
        accuracy = measure_accuracy(self, replay, self.accuracy_horizon, generator)
        self.errors = accuracy.errors
        return metrics | accuracy.metrics

    def _features(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the normalized inputs and a one [..., O + A + 1]."""
        inputs = self.normalizer.inputs(obs, action)
        return torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)

    def _targets(self, batch: Batch) -> Tensor:
        """Return [change O | reward 1 | continues 1] for n transitions."""
        continues = 1.0 - batch.terminated[:, None]
        return torch.cat([self.normalizer.targets(batch), continues], dim=-1)  # [n, O+2]

    def _loss(self, batch: Batch) -> float:
        """Return the mean squared error of all targets."""
        predicted = self._features(batch.obs, batch.action) @ self.weight
        return float((predicted - self._targets(batch)).square().mean())

    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Predict the next observation and the reward; see `MarkovModel.transition`."""
        out = self._features(obs, action) @ self.weight  # [M, P, O+2]
        obs_dim = obs.shape[-1]
        norm = self.normalizer
        change = norm.change.restore(out[..., :obs_dim])
        reward = norm.reward.restore(out[..., obs_dim])
        return obs + change, norm.clip_reward(reward)

    def continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the continue probability; see `MarkovModel.continues`."""
        return (self._features(obs, action) @ self.weight[:, -1]).clamp(0.0, 1.0)

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the prediction; its standard deviation is that of the residuals."""
        change = self._features(obs, action) @ self.weight[:, : obs.shape[-1]]
        mean = obs + self.normalizer.change.restore(change)
        return Prediction(mean, self.residual_std.expand_as(mean), torch.zeros_like(mean[:, 0]))

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and statistics."""
        return {
            "weight": self.weight,
            "residual_std": self.residual_std,
            "normalizer": self.normalizer.state_dict(),
            "is_fitted": self.is_fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.weight = state["weight"].to(self.device)
        self.residual_std = state["residual_std"].to(self.device)
        self.normalizer.load_state_dict(state["normalizer"])
        self.is_fitted = state["is_fitted"]
