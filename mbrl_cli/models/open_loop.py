"""Open-loop prediction of held-out episodes: a few observations, then actions alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.models.base import Model
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import scale_of

CONTEXT_LENGTH = 5  # observations that the model is given before it predicts
MAX_WINDOWS = 64  # evaluated windows of one length, to bound the time


def measure_open_loop(
    model: Model, replay: ReplayBuffer, horizon: int, generator: torch.Generator
) -> dict[str, float]:
    """Return root mean squared errors on held-out episodes; empty while all are too short.

    Metrics, for k = 1, 5 and `horizon`:

    - `error_k<k>`: of the observation that is predicted k steps after the last given one, with the
      real actions, each entry in standard deviations of the held-out data.
    - `baseline_k<k>`: the same error of predicting no change.
    - `reward_error_k<k>`: of the reward at that step, in its own units.
    - `reward_baseline_k<k>`: the same error of predicting the mean reward.
    """
    metrics: dict[str, float] = {}
    for length in sorted({1, 5, max(horizon, 1)}):
        windows = replay.held_out_windows(CONTEXT_LENGTH - 1 + length)
        if not len(windows):
            continue
        if len(windows) > MAX_WINDOWS:
            chosen = torch.randperm(len(windows), generator=generator)[:MAX_WINDOWS]
            windows = windows[np.sort(chosen.numpy())]
        predicted, reward = predict_open_loop(model, replay, windows, generator)
        last = replay.batch(windows[:, -1], model.device)
        given = replay.batch(windows[:, CONTEXT_LENGTH - 1], model.device).obs
        scale = scale_of(given)
        metrics[f"error_k{length}"] = _rms((predicted[-1] - last.next_obs) / scale)
        metrics[f"baseline_k{length}"] = _rms((given - last.next_obs) / scale)
        metrics[f"reward_error_k{length}"] = _rms(reward[-1] - last.reward)
        metrics[f"reward_baseline_k{length}"] = _rms(last.reward.mean() - last.reward)
    return metrics


def predict_open_loop(
    model: Model, replay: ReplayBuffer, windows: np.ndarray, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Predict windows of the replay, given their first `CONTEXT_LENGTH` observations.

    Args:
        model: of the environment.
        replay: that contains the windows.
        windows: rows [w, CONTEXT_LENGTH - 1 + k] of consecutive transitions.
        generator: for the model.

    Returns:
        observations [CONTEXT_LENGTH + k, w, O], decoded from given and predicted states, and the
        predicted rewards [k, w]; both are means over particles.
    """
    state = model.initial(len(windows))
    action = torch.zeros(len(windows), model.spec.action.dim, device=model.device)
    observations, rewards = [], []
    for step in range(CONTEXT_LENGTH):
        batch = replay.batch(windows[:, step], model.device)
        state = model.observe(state, action, batch.obs)
        action = batch.action
        observations.append(model.decode(state))
    state = model.branch(state, 1)
    for step in range(CONTEXT_LENGTH - 1, windows.shape[1]):
        action = replay.batch(windows[:, step], model.device).action
        state, reward, _ = model.step(state, action, generator)
        observations.append(model.decode(state).mean(1))
        rewards.append(reward.mean(1))
    return torch.stack(observations), torch.stack(rewards)


def _rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())
