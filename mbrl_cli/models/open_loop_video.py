"""A video of held-out episodes beside their open-loop prediction."""

from __future__ import annotations

import numpy as np
import torch

from mbrl_cli.models.base import Model
from mbrl_cli.models.open_loop import CONTEXT_LENGTH, predict_open_loop
from mbrl_cli.replay.buffer import ReplayBuffer

NUM_EPISODES = 4  # rows of the video
NUM_PREDICTED = 15  # predicted frames, after CONTEXT_LENGTH given ones
ZOOM = 4  # screen pixels per pixel of an observation


def open_loop_video(
    model: Model, replay: ReplayBuffer, generator: torch.Generator
) -> np.ndarray | None:
    """Return a video [T, height, width, channels], uint8: truth, prediction and difference.

    Each row is a held-out episode. The model is given the first `CONTEXT_LENGTH` images and
    predicts the rest. None if observations are no images, or if no episode is long enough.
    """
    shape = model.spec.obs_shape
    windows = replay.held_out_windows(CONTEXT_LENGTH - 1 + NUM_PREDICTED)
    if shape is None or not len(windows):
        return None
    chosen = torch.randperm(len(windows), generator=generator)[:NUM_EPISODES]
    windows = windows[np.sort(chosen.numpy())]
    predicted, _ = predict_open_loop(model, replay, windows, generator)
    predicted = predicted.cpu()  # [T, w, O]
    truth = torch.stack(
        [
            replay.batch(windows[:, 0]).obs,
            *(replay.batch(rows).next_obs for rows in windows.T),
        ]
    )  # [T, w, O]
    difference = 127.5 + (predicted - truth) / 2.0  # grey where both are equal
    images = torch.stack([truth, predicted, difference], 2)  # [T, w, 3, O]
    channels = 1 if shape[0] % 3 else 3  # of the newest image, if several are stacked
    frames = images.view(*images.shape[:3], *shape)[:, :, :, -channels:]  # [T, w, 3, C, S, S]
    # Episodes below each other, the three images of each side by side.
    frames = frames.permute(0, 1, 4, 2, 5, 3)  # [T, w, S, 3, S, C]
    frames = frames.reshape(len(images), -1, 3 * shape[2], channels)  # [T, w * S, 3 * S, C]
    frames = frames.repeat_interleave(ZOOM, 1).repeat_interleave(ZOOM, 2)
    video: np.ndarray = frames.round().to(torch.uint8).numpy()
    return video
