"""Observations, actions and rewards of one episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.episode_order import in_episode_order


@dataclass(frozen=True)
class Trajectory:
    """An episode of T steps, or the stored part of one; O obs_dim, A encoded action dim.

    Attributes:
        obs: [T + 1, O], the last one after the last step.
        action: [T, A].
        reward: [T].
        terminated: whether the last step ended the task.
        number: of the first transition, counted as added to the replay; 0 for a played episode.
    """

    obs: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float64]
    terminated: bool
    number: int = 0

    @classmethod
    def of_episode(cls, episode: Episode) -> Trajectory:
        """Return the trajectory of an episode that was played."""
        return cls(episode.obs, episode.action, episode.reward, episode.terminated)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.reward)


def stored_trajectories(replay: ReplayBuffer, rows: NDArray[np.int64]) -> list[Trajectory]:
    """Return the episodes of a replay whose transitions lie at `rows`."""
    if not len(rows):
        return []
    numbers = replay.numbers(rows)
    taken = in_episode_order(replay.transitions_at(numbers) | {"number": numbers})
    starts = np.flatnonzero(np.diff(taken["episode"], prepend=-1) != 0)
    found = []
    for first, last in zip(starts, [*starts[1:], len(rows)], strict=True):
        part = slice(first, last)
        found.append(
            Trajectory(
                obs=np.concatenate([taken["obs"][part], taken["next_obs"][last - 1 : last]]),
                action=taken["action"][part],
                reward=taken["reward"][part].astype(np.float64),
                terminated=bool(taken["terminated"][last - 1]),
                number=int(taken["number"][first]),
            )
        )
    return found
