"""Accuracy of a fitted Markov model: k-step error, coverage, disagreement, residuals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import scale_of
from mbrl_cli.types import Batch

QUANTILE_95 = 1.6448536269514722  # of the normal distribution
MAX_WINDOWS = 256  # windows of one length that are imagined; more would cost time


class Accuracy(NamedTuple):
    """Accuracy of a model on held-out episodes; empty if no episode is held out."""

    errors: dict[int, float]  # k -> k-step error, see `measure_accuracy`
    metrics: dict[str, float]  # all logged values by name


@torch.no_grad()
def measure_accuracy(
    model: MarkovModel, replay: ReplayBuffer, horizon: int, generator: torch.Generator
) -> Accuracy:
    """Measure errors, coverage and disagreement on held-out episodes.

    - `error_k1`, `error_k5`, `error_k<horizon>`: root mean squared error of the observation after
      k imagined steps with the real actions. The unit of each entry is its standard deviation in
      the held-out data.
    - `baseline_k1`, ...: the same error for the prediction that nothing changes. A model is useful
      for planning only if its error is well below this one.
    - `reward_error_k1`, ...: of the reward at that step, in its own units.
    - `reward_baseline_k1`, ...: the same error for the prediction of the mean reward.
    - `coverage_1sigma`, `coverage_2sigma`: fraction of one-step errors within 1 and 2 predicted
      standard deviations (0.683 and 0.954 for a calibrated Gaussian).
    - `coverage_90`: fraction within the central interval of 90 %.
    - `disagreement`: mean of `Prediction.disagreement`.

    Args:
        model: the fitted model.
        replay: holds the held-out episodes.
        horizon: the longest k; 0: only 1 and 5.
        generator: draws the windows and the model's noise.
    """
    errors: dict[int, float] = {}
    metrics: dict[str, float] = {}
    scale = None
    for length in sorted({1, 5, max(horizon, 1)}):
        windows = replay.held_out_windows(length)  # [w, length] rows
        if not len(windows):
            continue
        if len(windows) > MAX_WINDOWS:
            chosen = torch.randperm(len(windows), generator=generator)[:MAX_WINDOWS]
            windows = windows[np.sort(chosen.numpy())]
        start = replay.batch(windows[:, 0], model.device)
        last = replay.batch(windows[:, -1], model.device)
        if scale is None:
            scale = scale_of(start.obs)  # [O]
            prediction = model.predict(start.obs, start.action)
            ratio = (prediction.mean - start.next_obs).abs() / prediction.std  # [w, O]
            metrics["coverage_1sigma"] = float((ratio <= 1.0).float().mean())
            metrics["coverage_2sigma"] = float((ratio <= 2.0).float().mean())
            metrics["coverage_90"] = float((ratio <= QUANTILE_95).float().mean())
            metrics["disagreement"] = float(prediction.disagreement.mean())
        state = model.branch({"obs": start.obs}, 1)  # [w, P, O]
        for step in range(length):
            action = replay.batch(windows[:, step], model.device).action
            imagined_step = model.step(state, action, generator)
            state = imagined_step.state
        imagined = model.decode(state).mean(1)  # [w, O]
        errors[length] = _rms((imagined - last.next_obs) / scale)
        metrics[f"error_k{length}"] = errors[length]
        metrics[f"baseline_k{length}"] = _rms((start.obs - last.next_obs) / scale)
        reward = imagined_step.reward.mean(1)  # [w]
        metrics[f"reward_error_k{length}"] = _rms(reward - last.reward)
        metrics[f"reward_baseline_k{length}"] = _rms(last.reward.mean() - last.reward)
    return Accuracy(errors, metrics)


@torch.no_grad()
def residual_std(model: MarkovModel, batch: Batch, obs_std: Tensor) -> Tensor:
    """Return the root mean squared error [O] of one-step predictions, at least 1e-8 `obs_std`."""
    error = model.predict(batch.obs, batch.action).mean - batch.next_obs  # [n, O]
    return torch.maximum(error.square().mean(0).sqrt(), 1e-8 * obs_std)


def _rms(error: Tensor) -> float:
    """Return the root mean square of all entries."""
    return float(error.square().mean().sqrt())
