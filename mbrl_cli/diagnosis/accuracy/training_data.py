"""Scales of the data from which a model was learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import ROUNDING_ERROR

MAX_ROWS = 20_000  # transitions at equal distances from which scales are computed


@dataclass(frozen=True)
class TrainingData:
    """Training transitions of a replay, all or MAX_ROWS of them; O obs_dim.

    Attributes:
        rows: [n] their rows.
        obs: [n, O].
        change_std: [O] standard deviation of next_obs - obs; infinite for an entry that does not
            change, so that its error counts nothing in this unit.
        reward_mean: mean reward.
        reward_std: standard deviation of the reward; 0: the reward is constant.
        terminations: number of terminations among all training transitions.
    """

    rows: NDArray[np.int64]
    obs: NDArray[np.float32]
    change_std: NDArray[np.float64]
    reward_mean: float
    reward_std: float
    terminations: int

    @classmethod
    def of(cls, replay: ReplayBuffer) -> TrainingData:
        """Return the data of a replay that has training episodes."""
        every = replay.split()[0]
        chosen = np.linspace(0, len(every) - 1, min(len(every), MAX_ROWS)).round().astype(np.int64)
        rows = every[chosen]
        batch = replay.batch(rows)
        obs, next_obs = batch.obs.numpy(), batch.next_obs.numpy()
        std = (next_obs - obs).std(0, dtype=np.float64)  # [O]
        size = np.abs(obs).max(0)
        reward = batch.reward.numpy().astype(np.float64)
        reward_std = float(reward.std())
        if reward_std <= ROUNDING_ERROR * abs(float(reward.mean())):
            reward_std = 0.0
        return cls(
            rows=rows,
            obs=obs,
            change_std=np.where(std > ROUNDING_ERROR * size, std, np.inf),
            reward_mean=float(reward.mean()),
            reward_std=reward_std,
            terminations=int(replay.batch(every).terminated.sum()),
        )
