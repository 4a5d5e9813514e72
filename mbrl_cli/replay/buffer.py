"""Storage of real transitions in preallocated arrays; whole episodes are held out.

Transitions are stored in the order in which they are added, also those of several episodes that
are collected in parallel. So a replay only grows: checkpoints write what was added, and networks
learn from a transition at once. Models with memory and n-step returns need the rows of an episode
in a sequence. `EpisodeOrder` gives each transition its place in that sequence. Without parallel
episodes both orders are equal, and nothing is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mbrl_cli.replay.episode_order import EpisodeOrder
from mbrl_cli.types import Batch, Sequences


class ReplayBuffer:
    """Ring buffer of the last `capacity` transitions.

    Held-out episodes are never used for training, so that errors measured on them are errors on
    unseen data. An episode is held out from its first step on: the second one, then about every
    (1 / `holdout_ratio`)-th.

    Episodes may be collected in parallel, in rounds: the episodes of a round start one after the
    other before any of them has ended, and a round starts when all earlier episodes have ended.
    The capacity must then suffice for all transitions.

    Axes: n transitions, O obs_dim, A action dim.
    """

    _FIELDS = ("obs", "action", "reward", "next_obs", "terminated", "episode")

    def __init__(
        self,
        capacity: int,
        obs_dim: int,
        action_dim: int,
        holdout_ratio: float = 0.1,
        images: bool = False,
    ) -> None:
        """Allocate the arrays; with `images` an entry of an observation takes one byte."""
        self.capacity = capacity
        self.holdout_ratio = holdout_ratio
        self.total_added = 0
        self.num_episodes = 0  # finished episodes
        obs_type = np.uint8 if images else np.float32
        self._obs = np.zeros((capacity, obs_dim), obs_type)
        self._action = np.zeros((capacity, action_dim), np.float32)
        self._reward = np.zeros(capacity, np.float32)
        self._next_obs = np.zeros((capacity, obs_dim), obs_type)
        self._terminated = np.zeros(capacity, np.float32)
        self._episode = np.zeros(capacity, np.int64)
        # Index of the row's next_obs in the stream of observations, see `sample_sequences`.
        self._position = np.zeros(capacity, np.int64)
        self._stream_length = 0
        self._order: EpisodeOrder | None = None  # None: no episodes were collected in parallel
        self._num_started = 0  # episodes
        # Of the round in progress, or of the last one: number of its first transition, length of
        # the stream before it, whether its rows are not in the order of their episodes, and whether
        # `_order` and `_position` lack some of them.
        self._round_start = self._stream_before = 0
        self._is_parallel = self._is_outdated = False

    def __len__(self) -> int:
        return min(self.total_added, self.capacity)

    def add(
        self,
        obs: np.ndarray,
        action: np.ndarray,
        reward: float,
        next_obs: np.ndarray,
        terminated: bool,
        truncated: bool,
        episode: int | None = None,
    ) -> None:
        """Store one transition; `terminated` or `truncated` ends the episode.

        Args:
            obs: [O] before the step.
            action: [A] encoded.
            reward: of the step.
            next_obs: [O] after the step.
            terminated: whether the task has ended.
            truncated: whether the episode was cut, for example by a time limit.
            episode: its index, counted from 0; None: `num_episodes`, which is that of the episode
                in progress if episodes are not collected in parallel.

        Raises:
            ValueError: if transitions of parallel episodes exceed the capacity.
        """
        row = self.total_added % self.capacity
        episode = self.num_episodes if episode is None else episode
        starts = self._note_episode(episode, row)
        self._obs[row] = obs
        self._action[row] = action
        self._reward[row] = reward
        self._next_obs[row] = next_obs
        self._terminated[row] = terminated
        self._episode[row] = episode
        if self._is_parallel:
            self._is_outdated = True
        else:
            self._extend_stream(row, starts)
        self.total_added += 1
        if terminated or truncated:
            self.num_episodes += 1

    def transitions(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return by field the transitions with numbers `start` to `stop`, counted as added."""
        return self.transitions_at(np.arange(start, stop))

    def transitions_at(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Return by field the transitions with these numbers, counted as added."""
        rows = numbers % self.capacity
        return {name: getattr(self, f"_{name}")[rows] for name in self._FIELDS}

    def rewards_since(self, number: int) -> np.ndarray:
        """Return the stored rewards from transition `number` on, counted as added, as float64."""
        first = max(number, self.total_added - self.capacity)
        rows = np.arange(first, self.total_added) % self.capacity
        return self._reward[rows].astype(np.float64)

    @property
    def all_ended(self) -> bool:
        """Whether all episodes have ended that have started."""
        return self.num_episodes == self._num_started

    def returns_since(self, number: int) -> np.ndarray:
        """Return the returns of the episodes from transition `number` on, counted as added.

        All of them must still be stored. A return is the sum of the rewards, as float64.
        """
        rows = np.arange(number, self.total_added) % self.capacity
        _, episode = np.unique(self._episode[rows], return_inverse=True)
        return np.bincount(episode, weights=self._reward[rows])

    def batch(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Batch:
        """Return the transitions at `rows` as float32 tensors on `device`."""
        fields = (self._obs, self._action, self._reward, self._next_obs, self._terminated)
        return Batch(*(torch.from_numpy(field[rows]).to(device).float() for field in fields))

    def outcomes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rewards at `rows` and whether they terminated the task, as float32."""
        return self._reward[rows], self._terminated[rows]

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the transitions at `rows`, counted as added from 0 on."""
        first = max(0, self.total_added - self.capacity)
        return first + (rows - first) % self.capacity

    def consecutive_rows(self, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `length` consecutive rows of an episode from each of `rows` [n] on, and a mask.

        The mask [n, length] is true for rows of the same episode as the first. The other rows
        [n, length] are valid indices of arbitrary transitions.
        """
        self._update_order()
        first = self.numbers(rows) if self._order is None else self._order.place[rows]
        places = first[:, None] + np.arange(length)  # [n, length]
        consecutive = places % self.capacity
        if self._order is not None:
            consecutive = self._order.row[consecutive]
        inside = (places < self.total_added) & (
            self._episode[consecutive] == self._episode[consecutive[:, :1]]
        )
        return consecutive, inside

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the training rows and the held-out rows, each in time order."""
        rows = self._rows_in_time_order()
        held_out = self._is_held_out(self._episode[rows])
        return rows[~held_out], rows[held_out]

    def held_out_windows(self, length: int) -> np.ndarray:
        """Return the rows [w, length] of all windows inside held-out episodes."""
        rows = self._rows_by_episode()
        if len(rows) < length:
            return np.zeros((0, length), np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(rows, length)  # [n - length + 1, length]
        episode = self._episode[windows[:, 0]]
        inside = (episode == self._episode[windows[:, -1]]) & self._is_held_out(episode)
        held_out: np.ndarray = windows[inside]
        return held_out

    def sample_sequences(
        self, num: int, length: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> Sequences:
        """Sample `num` windows of the stream of observations, uniformly.

        The stream has, for each training episode, its first observation and the next_obs of each
        row; so it includes the last observation of an episode. A window can continue into the next
        episode; `Sequences.first` marks where that happens. The stream of an episode that has not
        ended grows with it.

        Args:
            num: of windows.
            length: of a window; all of the stream if that is shorter.
            generator: for the positions of the windows.
            device: for the returned tensors.
        """
        rows = self._rows_by_episode()
        position = self._position[rows]
        # The stream's first position that is still stored.
        start = int(position[0]) + 1 if len(rows) < self.total_added else 0
        length = min(length, self._stream_length - start)
        num_starts = self._stream_length - start - length + 1
        window_start = torch.randint(num_starts, (num,), generator=generator).numpy() + start
        target = window_start + np.arange(length)[:, None]  # [T, n] positions in the stream
        # The row whose next_obs has that position. The first observation of an episode is no row's
        # next_obs; the search then returns the row that has it as its obs.
        index = np.searchsorted(position, target)
        row, first = rows[index], position[index] > target
        fields = (
            np.where(first[..., None], self._obs[row], self._next_obs[row]),
            np.where(first[..., None], 0.0, self._action[row]),
            np.where(first, 0.0, self._reward[row]),
            np.where(first, 0.0, self._terminated[row]),
        )
        restarts = [True, *first[1:].any(1).tolist()]
        first[0] = True  # the steps before the window are unknown
        obs, action, reward, terminated = (torch.from_numpy(f).to(device).float() for f in fields)
        first_tensor = torch.from_numpy(first).to(device)
        return Sequences(obs, action, reward, terminated, first_tensor, restarts)

    def _note_episode(self, episode: int, row: int) -> bool:
        """Note that the next transition, at `row`, has this episode; return whether it starts it.

        Raises:
            ValueError: see `add`.
        """
        starts = self.total_added == 0 or self._episode[row - 1] != episode
        if self.all_ended:
            self._update_order()
            self._round_start, self._stream_before = self.total_added, self._stream_length
            self._is_parallel = False
        elif starts:
            self._is_parallel = True
            self._order = self._order or EpisodeOrder(self.capacity)
        if self._order is not None and self.total_added >= self.capacity:
            raise ValueError(
                f"the replay is full: parallel episodes need a capacity above {self.capacity}"
            )
        self._num_started = max(self._num_started, episode + 1)
        return starts

    def _extend_stream(self, row: int, starts: bool) -> None:
        """Append the row's next_obs to the stream, and its obs if it starts an episode."""
        if not self._is_held_out(self._episode[row : row + 1])[0]:
            self._stream_length += 2 if starts else 1
        self._position[row] = self._stream_length - 1

    def _update_order(self) -> None:
        """Bring order and stream of the round in progress up to date."""
        if self._is_outdated and self._order is not None:
            start, stop = self._round_start, self.total_added
            self._order.sort(start, stop, self._episode[start:stop])
            self._index_stream(self._order.row[start:stop], self._stream_before, is_first=True)
            self._is_outdated = False

    def _index_stream(self, rows: np.ndarray, before: int, is_first: bool) -> None:
        """Compute the positions in the stream of `rows`, which are in the order of their episodes.

        Args:
            rows: all rows after the `before` first positions of the stream.
            before: positions of the stream before them.
            is_first: whether the first row starts its episode.
        """
        episode = self._episode[rows]
        starts = np.diff(episode, prepend=-1 if is_first else episode[:1]) != 0
        added = np.where(self._is_held_out(episode), 0, 1 + starts)
        self._position[rows] = before + added.cumsum() - 1
        self._stream_length = before + int(added.sum())

    def _rows_by_episode(self) -> np.ndarray:
        """Return all rows in the order of their episodes, and in time order within each."""
        self._update_order()
        if self._order is None:
            return self._rows_in_time_order()
        return self._order.row[: self.total_added]

    def _rows_in_time_order(self) -> np.ndarray:
        first = max(0, self.total_added - self.capacity)
        return np.arange(first, self.total_added) % self.capacity

    def _is_held_out(self, episode: np.ndarray) -> np.ndarray:
        # The phase makes the second episode (index 1) the first one that is held out.
        phase = 1.0 - 2.0 * self.holdout_ratio
        count_before = np.floor(episode * self.holdout_ratio + phase)
        return np.floor((episode + 1) * self.holdout_ratio + phase) > count_before

    def state_dict(self) -> dict[str, Any]:
        """Return the stored transitions and the counters, as arrays and numbers."""
        used = slice(0, len(self))
        return {
            "total_added": self.total_added,
            "num_episodes": self.num_episodes,
            **{name: getattr(self, f"_{name}")[used].copy() for name in self._FIELDS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned; the capacity must be the same."""
        self.total_added = state["total_added"]
        self.num_episodes = state["num_episodes"]
        for name in self._FIELDS:
            getattr(self, f"_{name}")[: len(self)] = state[name]
        rows = self._rows_in_time_order()
        episode = self._episode[rows]
        self._num_started = max(self.num_episodes, int(episode.max(initial=-1)) + 1)
        self._round_start = self._stream_before = 0
        self._is_parallel = self._is_outdated = bool((np.diff(episode) < 0).any())
        self._order = EpisodeOrder(self.capacity) if self._is_parallel else None
        self._index_stream(rows, 0, is_first=len(rows) == self.total_added)
