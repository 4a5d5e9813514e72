"""How far a latent model sees: some real observations, then nothing but actions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.models.base import Model
from mbrl_cli.replay.buffer import ReplayBuffer

SEEN = 5  # observations that the model is shown first
MAX_WINDOWS = 64  # of one length; more would only cost time
FILMS, FILMED, ZOOM = 4, 15, 4  # episodes of a film, its imagined steps, screen pixels a pixel


def measure_open_loop(
    model: Model, replay: ReplayBuffer, horizon: int, generator: torch.Generator
) -> dict[str, float]:
    """Return accuracy metrics on held-out episodes; empty while none is long enough.

    `error_k1`, `error_k5`, `error_k<horizon>`: root mean squared error of the observation that is
    imagined k steps after the last one seen, with the real actions, each entry in standard
    deviations of the held-out data; `baseline_k...`: the same of predicting that nothing changes;
    `reward_error_k...`: that of the reward, in its own units.
    """
    metrics: dict[str, float] = {}
    for length in sorted({1, 5, max(horizon, 1)}):
        windows = replay.held_out_windows(SEEN - 1 + length)
        if not len(windows):
            continue
        if len(windows) > MAX_WINDOWS:
            chosen = torch.randperm(len(windows), generator=generator)[:MAX_WINDOWS]
            windows = windows[np.sort(chosen.numpy())]
        imagined, reward = imagine_open_loop(model, replay, windows, generator)
        last = replay.batch(windows[:, -1], model.device)
        before = replay.batch(windows[:, SEEN - 1], model.device).obs
        std = before.std(0, unbiased=False)
        scale = torch.where(std > 1e-6, std, torch.ones_like(std))
        metrics[f"error_k{length}"] = _rms((imagined[-1] - last.next_obs) / scale)
        metrics[f"baseline_k{length}"] = _rms((before - last.next_obs) / scale)
        metrics[f"reward_error_k{length}"] = _rms(reward[-1] - last.reward)
    return metrics


def imagine_open_loop(
    model: Model, replay: ReplayBuffer, windows: np.ndarray, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Show the model the first `SEEN` observations of windows [w, SEEN - 1 + k], then imagine.

    Returns the observations [SEEN + k, w, O] that its states stand for, and the rewards [k, w] of
    the imagined ones.
    """
    state = model.initial(len(windows))
    action = torch.zeros(len(windows), model.spec.action.dim, device=model.device)
    observations, rewards = [], []
    for step in range(SEEN):
        batch = replay.batch(windows[:, step], model.device)
        state = model.observe(state, action, batch.obs)
        action = batch.action
        observations.append(model.decode(state))
    state = model.branch(state, 1)
    for step in range(SEEN - 1, windows.shape[1]):
        action = replay.batch(windows[:, step], model.device).action
        state, reward, _ = model.step(state, action, generator)
        observations.append(model.decode(state).mean(1))
        rewards.append(reward.mean(1))
    return torch.stack(observations), torch.stack(rewards)


def video_open_loop(
    model: Model, replay: ReplayBuffer, generator: torch.Generator
) -> np.ndarray | None:
    """Return pictures [T, height, width, channels]: what was, what the model makes of it, both.

    Each row is a held-out episode. The model sees the first `SEEN` pictures; the rest is imagined.
    None where observations are no pictures, or no episode is long enough.
    """
    shape = model.spec.obs_shape
    windows = replay.held_out_windows(SEEN - 1 + FILMED)
    if shape is None or not len(windows):
        return None
    chosen = torch.randperm(len(windows), generator=generator)[:FILMS]
    windows = windows[np.sort(chosen.numpy())]
    imagined, _ = imagine_open_loop(model, replay, windows, generator)  # [T, w, O]
    seen = [replay.batch(windows[:, 0]).obs]
    seen += [replay.batch(rows).next_obs for rows in windows.T]
    truth = torch.stack(seen)
    both = torch.stack([truth, imagined.cpu(), 127.5 + (imagined.cpu() - truth) / 2.0], 2)
    channels = 1 if shape[0] % 3 else 3  # of the newest picture, where several are stacked
    frames = both.view(*both.shape[:3], *shape)[:, :, :, -channels:]  # [T, w, 3, C, size, size]
    # Episodes below each other; truth, imagination and difference side by side.
    frames = frames.permute(0, 1, 4, 2, 5, 3).reshape(len(both), -1, 3 * shape[2], channels)
    large = frames.repeat_interleave(ZOOM, 1).repeat_interleave(ZOOM, 2)
    video: np.ndarray = large.round().to(torch.uint8).numpy()
    return video


def _rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())
