"""The order of transitions in which each episode is a sequence without gaps."""

from __future__ import annotations

import numpy as np


class EpisodeOrder:
    """Permutation of transitions that brings parallel episodes one after the other.

    Rounds of episodes stay in time order, so a place is final once its round has ended.

    Attributes:
        row: [capacity] row of the transition at each place.
        place: [capacity] place of the transition at each row.
    """

    def __init__(self, capacity: int) -> None:
        """Start with equal orders: place i has row i."""
        self.row = np.arange(capacity)
        self.place = np.arange(capacity)

    def sort(self, start: int, stop: int, episode: np.ndarray) -> None:
        """Sort the rows from `start` to `stop`, a round, by their episodes [stop - start]."""
        # A stable sort keeps the time order within an episode.
        self.row[start:stop] = start + np.argsort(episode, kind="stable")
        self.place[self.row[start:stop]] = np.arange(start, stop)


def in_episode_order(transitions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return transitions [n], by field, one episode after the other, each in its time order."""
    order = np.argsort(transitions["episode"], kind="stable")
    return {name: values[order] for name, values in transitions.items()}
