"""Bootstrap samples that stay the same while the data grow (online bootstrap, Oza 2005).

In a bootstrap sample of n transitions, drawn with replacement, each transition occurs about
Poisson(1) times. Here that number is a hash of (seed, member, transition number). It is therefore
the same in every fit, also after the run was resumed, and needs no memory.
"""

from __future__ import annotations

import math

import numpy as np

MAX_COUNT = 20  # a Poisson(1) number is larger with a probability of 8e-21
# Probability that a Poisson(1) number is at most 0, 1, 2, ...
POISSON = np.cumsum([math.exp(-1.0) / math.factorial(count) for count in range(MAX_COUNT)])


def member_counts(seed: int, num_members: int, numbers: np.ndarray) -> np.ndarray:
    """Return how often each member's sample has each transition, [E, n].

    A member whose sample would be empty has each transition once.

    Args:
        seed: of the samples.
        num_members: E.
        numbers: [n] of the transitions, counted as they were added to the replay.
    """
    member = np.arange(num_members, dtype=np.uint64)[:, None]
    key = _mixed(_mixed(np.array([[seed]], np.uint64)) + member)  # [E, 1]
    bits = _mixed(key + numbers.astype(np.uint64))  # [E, n]
    uniform = (bits >> np.uint64(11)) * 2.0**-53  # in [0, 1)
    counts: np.ndarray = np.searchsorted(POISSON, uniform, side="right")
    counts[counts.sum(1) == 0] = 1
    return counts


def _mixed(value: np.ndarray) -> np.ndarray:
    """Return a hash of 64-bit integers: splitmix64 (Steele et al. 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = value ^ (value >> np.uint64(31))
    return mixed
