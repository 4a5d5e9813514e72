"""The transitions of a run in the order in which they were collected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.episode_order import in_episode_order
from mbrl_cli.types import EnvSpec

# Steps of a unit. Errors of neighbouring steps depend on each other, so tests compare units.
UNIT_STEPS = 50


@dataclass(frozen=True)
class Transitions:
    """Transitions in time order; the statistical unit is a piece of an episode.

    Axes: n transitions, O obs_dim, A encoded action dim.

    Attributes:
        spec: the environment.
        obs: [n, O].
        action: [n, A].
        reward: [n].
        next_obs: [n, O].
        terminated: [n] bool.
        episode: [n] numbers that increase.
    """

    spec: EnvSpec
    obs: NDArray[np.float64]
    action: NDArray[np.float64]
    reward: NDArray[np.float64]
    next_obs: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    episode: NDArray[np.int64]

    @classmethod
    def of_replay(cls, replay: ReplayBuffer, spec: EnvSpec) -> Transitions:
        """Return all transitions of a replay, one episode after the other."""
        total = replay.total_added
        stored = in_episode_order(replay.transitions(total - len(replay), total))
        return cls(
            spec=spec,
            obs=stored["obs"].astype(np.float64),
            action=stored["action"].astype(np.float64),
            reward=stored["reward"].astype(np.float64),
            next_obs=stored["next_obs"].astype(np.float64),
            terminated=stored["terminated"] > 0.5,
            episode=stored["episode"],
        )

    def sample(self, limit: int) -> Transitions:
        """Return about `limit` transitions: whole episodes at even distances, at least four."""
        if len(self) <= limit:
            return self
        numbers = np.unique(self.episode)
        count = min(len(numbers), max(4, round(len(numbers) * limit / len(self))))
        places = np.linspace(0, len(numbers) - 1, count).round().astype(int)
        return self.rows(np.isin(self.episode, numbers[places]))

    def rows(self, chosen: NDArray[np.bool_]) -> Transitions:
        """Return the transitions where `chosen` [n] is true; episodes are chosen as a whole."""
        fields = ("obs", "action", "reward", "next_obs", "terminated", "episode")
        return replace(self, **{name: getattr(self, name)[chosen] for name in fields})

    def __len__(self) -> int:
        return len(self.reward)

    @cached_property
    def starts(self) -> NDArray[np.bool_]:
        """[n] whether the row is the first of its episode."""
        starts: NDArray[np.bool_] = np.diff(self.episode, prepend=self.episode[:1] - 1) != 0
        return starts

    @cached_property
    def ends(self) -> NDArray[np.bool_]:
        """[n] whether the row is the last of its episode; the last row of all counts as an end."""
        return np.append(self.starts[1:], True)

    @cached_property
    def step(self) -> NDArray[np.int64]:
        """[n] steps of the episode before the row."""
        number = np.arange(len(self))
        first = np.maximum.accumulate(np.where(self.starts, number, 0))
        return number - first

    @cached_property
    def unit(self) -> NDArray[np.int64]:
        """[n] number of the row's unit: at most 50 consecutive steps of one episode."""
        opens = self.starts | (self.step % UNIT_STEPS == 0)
        return np.cumsum(opens) - 1

    @property
    def images(self) -> bool:
        """Whether observations are images."""
        return self.spec.obs_shape is not None

    @cached_property
    def real_entries(self) -> NDArray[np.int64]:
        """Indices of observation entries that are not integers by definition."""
        return np.flatnonzero(~np.array(self.spec.obs_integer))

    @cached_property
    def discrete_obs(self) -> bool:
        """Whether all observation entries are integers, or only few values occur."""
        if not len(self.real_entries):
            return True
        return len(np.unique(self.obs, axis=0)) < 0.2 * len(self)
