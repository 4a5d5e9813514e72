"""Parts of real episodes, along which a latent model is unrolled."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.nets.random_shift import random_shift
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import EnvSpec


class Episodes(NamedTuple):
    """Parts of episodes: H real steps of each of n sequences.

    Where the mask is 0 the episode has ended before, and the other fields are arbitrary.
    """

    first_obs: Tensor  # [n, O]
    action: Tensor  # [H, n, A]
    reward: Tensor  # [H, n]
    next_obs: Tensor  # [H, n, O]
    terminated: Tensor  # [H, n]
    mask: Tensor  # [H, n] 1 while the step belongs to the episode


def sample_episodes(
    replay: ReplayBuffer,
    num: int,
    steps: int,
    spec: EnvSpec,
    generator: torch.Generator,
    device: torch.device,
) -> Episodes:
    """Return `num` sequences of `steps` real steps that start at random transitions of the replay.

    All images of a sequence are shifted alike by a few random pixels.
    """
    start = torch.randint(len(replay), (num,), generator=generator).numpy()
    rows, inside = replay.consecutive_rows(start, steps)  # [n, H]
    obs, action, reward, next_obs, terminated = (
        field.view(steps, num, *field.shape[1:]) for field in replay.batch(rows.T.ravel(), device)
    )
    mask = torch.from_numpy(inside.T.copy()).to(reward)
    first_obs = obs[0]
    if spec.obs_shape is not None:
        images = torch.cat([first_obs[None], next_obs])  # [H + 1, n, O]
        images = random_shift(images, spec.obs_shape, generator)
        first_obs, next_obs = images[0], images[1:]
    return Episodes(first_obs, action, reward, next_obs, terminated, mask)
