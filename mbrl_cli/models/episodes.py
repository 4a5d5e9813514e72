"""Parts of real episodes, along which a latent model is unrolled, and their n-step returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mbrl_cli.models.n_step_returns import stored_returns
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


class Returns(NamedTuple):
    """n-step returns of the states before H steps: `rewards` + `discount` * value of `last_obs`."""

    rewards: Tensor  # [H, n] discounted sum
    discount: Tensor  # [H, n] of the value; 0 after a termination
    last_obs: Tensor  # [H, n, O] after the last of the rewards


def sample_episodes(
    replay: ReplayBuffer,
    num: int,
    steps: int,
    td_steps: int,
    discount: float,
    spec: EnvSpec,
    generator: torch.Generator,
    device: torch.device,
    is_own: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> tuple[Episodes, Returns]:
    """Return `num` sequences of `steps` real steps that start at random transitions of the replay.

    All images of a sequence are shifted alike by a few random pixels.

    Args:
        replay: real transitions.
        num: n.
        steps: H.
        td_steps: largest number of rewards in a return.
        discount: per step.
        spec: the environment.
        generator: on the CPU.
        device: for the returned tensors.
        is_own: maps obs [m, O] and action [m, A] to 1 where returns that started earlier may
            include the step, because the present policy might take the action, else 0. None: 1.
    """
    start = torch.randint(len(replay), (num,), generator=generator).numpy()
    rows, inside = replay.consecutive_rows(start, steps + td_steps - 1)  # [n, L]
    obs, action, reward, next_obs, terminated = (
        field.view(steps, num, *field.shape[1:])
        for field in replay.batch(rows[:, :steps].T.ravel(), device)
    )
    mask = torch.from_numpy(inside[:, :steps].T.copy()).to(reward)
    first_obs = obs[0]
    if spec.obs_shape is not None:
        images = torch.cat([first_obs[None], next_obs])  # [H + 1, n, O]
        images = random_shift(images, spec.obs_shape, generator)
        first_obs, next_obs = images[0], images[1:]
    episodes = Episodes(first_obs, action, reward, next_obs, terminated, mask)
    if td_steps == 1:
        return episodes, Returns(reward, discount * (1.0 - terminated), next_obs)
    included = torch.from_numpy(inside).float()  # [n, L]
    if is_own is not None:
        every = replay.batch(rows.ravel(), device)
        included *= is_own(every.obs, every.action).cpu().view(included.shape)
    returns, last_rows = stored_returns(replay, rows, included, td_steps, discount)  # [n, H]
    last_obs = replay.batch(last_rows.T.ravel(), device).next_obs.view(next_obs.shape)
    if spec.obs_shape is not None:
        last_obs = random_shift(last_obs, spec.obs_shape, generator)
    rewards, last_discount = (field.T.contiguous().to(device) for field in returns[:2])  # [H, n]
    return episodes, Returns(rewards, last_discount, last_obs)
