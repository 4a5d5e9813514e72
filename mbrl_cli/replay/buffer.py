"""Real transitions in preallocated arrays, with the episode that each belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mbrl_cli.types import Batch, Sequences


class ReplayBuffer:
    """Keep the last `capacity` transitions in the order in which they happened.

    An episode is held out from training as a whole, for good, and from its first step on: the
    second one, then about every (1 / `holdout_ratio`)-th. So errors measured on held-out episodes
    are errors on data that no fit has ever seen.
    """

    def __init__(
        self,
        capacity: int,
        obs_dim: int,
        action_dim: int,
        holdout_ratio: float = 0.15,
        pictures: bool = False,
    ) -> None:
        """Reserve the memory; `pictures` have a byte for every number of an observation."""
        self.capacity = capacity
        self.holdout_ratio = holdout_ratio
        self.total_added = 0
        self.num_episodes = 0  # finished ones; the running episode has this number
        obs_type = np.uint8 if pictures else np.float32
        self._obs = np.zeros((capacity, obs_dim), obs_type)
        self._action = np.zeros((capacity, action_dim), np.float32)
        self._reward = np.zeros(capacity, np.float32)
        self._next_obs = np.zeros((capacity, obs_dim), obs_type)
        self._terminated = np.zeros(capacity, np.float32)
        self._episode = np.zeros(capacity, np.int64)
        # Where the row's arrival stands in the stream of observations, see `sequences`.
        self._position = np.zeros(capacity, np.int64)
        self._stream_length = 0

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
    ) -> None:
        """Store one transition; `terminated` or `truncated` closes the episode."""
        row = self.total_added % self.capacity
        self._obs[row] = obs
        self._action[row] = action
        self._reward[row] = reward
        self._next_obs[row] = next_obs
        self._terminated[row] = terminated
        self._episode[row] = self.num_episodes
        starts = self.total_added == 0 or self._episode[row - 1] != self.num_episodes
        self._extend_stream(row, starts)
        self.total_added += 1
        if terminated or truncated:
            self.num_episodes += 1

    def stored(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return the transitions that were added as number `start` up to `stop`, by field."""
        rows = np.arange(start, stop) % self.capacity
        return {name: getattr(self, f"_{name}")[rows] for name in self._FIELDS}

    def batch(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Batch:
        """Return the transitions at `rows` as float32 tensors on `device`."""
        fields = (self._obs, self._action, self._reward, self._next_obs, self._terminated)
        return Batch(*(torch.from_numpy(field[rows]).to(device).float() for field in fields))

    def following(self, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows [n, length] that came from `rows` [n] on, and which are of one episode.

        Rows past the episode's end, or past the newest one, are any rows.
        """
        first = max(0, self.total_added - self.capacity)
        number = first + (rows - first) % self.capacity  # in the order in which they were added
        numbers = number[:, None] + np.arange(length)
        found = numbers % self.capacity
        inside = (numbers < self.total_added) & (
            self._episode[found] == self._episode[found[:, :1]]
        )
        return found, inside

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows to train on and the held-out rows, each in time order."""
        rows = self._rows_in_time_order()
        held_out = self._is_held_out(self._episode[rows])
        return rows[~held_out], rows[held_out]

    def held_out_windows(self, length: int) -> np.ndarray:
        """Return [w, length] rows of all windows of consecutive steps in one held-out episode."""
        rows = self._rows_in_time_order()
        if len(rows) < length:
            return np.zeros((0, length), np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(rows, length)  # [n - length + 1, length]
        episode = self._episode[windows[:, 0]]
        whole = (episode == self._episode[windows[:, -1]]) & self._is_held_out(episode)
        chosen: np.ndarray = windows[whole]
        return chosen

    def sequences(
        self, num: int, length: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> Sequences:
        """Draw `num` windows of the stream of observations, `length` long if there are so many.

        The stream holds each episode's first observation and then, row by row, what was reached:
        so the last observation of an episode is in it. Held-out episodes are not. A window may run
        from one episode into the next, which `first` tells.
        """
        rows = self._rows_in_time_order()
        position = self._position[rows]
        start = int(position[0]) + 1 if len(rows) < self.total_added else 0  # still remembered
        length = min(length, self._stream_length - start)
        choices = self._stream_length - start - length + 1
        chosen = torch.randint(choices, (num,), generator=generator).numpy() + start
        wanted = chosen + np.arange(length)[:, None]  # [T, n]
        index = np.searchsorted(position, wanted)  # the first row that arrives there or later
        row, first = rows[index], position[index] > wanted
        fields = (
            np.where(first[..., None], self._obs[row], self._next_obs[row]),
            np.where(first[..., None], 0.0, self._action[row]),
            np.where(first, 0.0, self._reward[row]),
            np.where(first, 0.0, self._terminated[row]),
        )
        restarts = [True, *first[1:].any(1).tolist()]
        first[0] = True  # nothing is known of what was before the window
        obs, action, reward, terminated = (torch.from_numpy(f).to(device).float() for f in fields)
        known_from = torch.from_numpy(first).to(device)
        return Sequences(obs, action, reward, terminated, known_from, restarts)

    def _extend_stream(self, row: int, starts: bool) -> None:
        if not self._is_held_out(self._episode[row : row + 1])[0]:
            self._stream_length += 2 if starts else 1  # an episode's first observation, and this
        self._position[row] = self._stream_length - 1

    def _rows_in_time_order(self) -> np.ndarray:
        first = max(0, self.total_added - self.capacity)
        return np.arange(first, self.total_added) % self.capacity

    def _is_held_out(self, episode: np.ndarray) -> np.ndarray:
        # The phase makes the second episode (number 1) the first one held out.
        phase = 1.0 - 2.0 * self.holdout_ratio
        count_before = np.floor(episode * self.holdout_ratio + phase)
        return np.floor((episode + 1) * self.holdout_ratio + phase) > count_before

    def state_dict(self) -> dict[str, Any]:
        """Return everything stored so far as plain arrays and numbers."""
        used = slice(0, len(self))
        return {
            "total_added": self.total_added,
            "num_episodes": self.num_episodes,
            **{name: getattr(self, f"_{name}")[used].copy() for name in self._FIELDS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the capacity must be the same."""
        self.total_added = state["total_added"]
        self.num_episodes = state["num_episodes"]
        for name in self._FIELDS:
            getattr(self, f"_{name}")[: len(self)] = state[name]
        rows = self._rows_in_time_order()
        episode = self._episode[rows]
        starts = np.diff(episode, prepend=-1 if len(rows) == self.total_added else episode[:1]) != 0
        added = np.where(self._is_held_out(episode), 0, 1 + starts)
        self._position[rows] = added.cumsum() - 1
        self._stream_length = int(added.sum())

    _FIELDS = ("obs", "action", "reward", "next_obs", "terminated", "episode")
