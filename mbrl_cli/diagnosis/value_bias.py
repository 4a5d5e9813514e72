"""Compare the values of critics with the returns of episodes that are played now.

The value of a state is compared with the discounted rewards that followed. An episode that was cut
ends with the critic's own value of its last state, so a constant bias b shows only as
b (1 - discount^n) after n steps; it is divided by this factor, and steps where it is below one half
are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.reports.student_t import t_quantile

MIN_SEEN = 0.5  # 1 - discount^n of a step that is used
MIN_EPISODES = 3


class ValueBias(NamedTuple):
    """Values minus returns; the units are those of the environment's rewards.

    Attributes:
        bias: mean over the steps of an episode, then over episodes.
        low: lower end of the 95 % t interval over episodes.
        high: its upper end.
        mean_value: of the steps that are used.
        mean_return: discounted, of the same steps.
        scale: root mean square of these returns, at least the size of one reward.
        correlation: of values and returns; NaN if one of them is constant.
    """

    bias: float
    low: float
    high: float
    mean_value: float
    mean_return: float
    scale: float
    correlation: float


def value_bias(
    episodes: Sequence[Episode],
    values: Sequence[NDArray[np.float64]],
    discount: float,
    bonus: float = 0.0,
) -> ValueBias | None:
    """Return the bias of values; None: fewer than 3 episodes have steps that can be compared.

    Args:
        episodes: E episodes of T steps.
        values: [T + 1] of each episode's observations.
        discount: per step, of the values.
        bonus: that the values expect in each later step beside the reward (of SAC: the temperature
            times the entropy).
    """
    biases, all_values, all_returns = [], [], []
    for episode, value in zip(episodes, values, strict=True):
        returns, seen = returns_to_go(episode, value, discount, bonus)
        used = seen >= MIN_SEEN
        if not used.any():
            continue
        biases.append(float(((value[:-1] - returns)[used] / seen[used]).mean()))
        all_values.append(value[:-1][used])
        all_returns.append(returns[used])
    if len(biases) < MIN_EPISODES:
        return None
    joined_values, joined_returns = np.concatenate(all_values), np.concatenate(all_returns)
    mean = float(np.mean(biases))
    error = float(np.std(biases, ddof=1)) / math.sqrt(len(biases))
    width = t_quantile(0.975, len(biases) - 1) * error
    rewards = np.concatenate([episode.reward for episode in episodes])
    constant = joined_values.std() < 1e-9 or joined_returns.std() < 1e-9
    return ValueBias(
        bias=mean,
        low=mean - width,
        high=mean + width,
        mean_value=float(joined_values.mean()),
        mean_return=float(joined_returns.mean()),
        scale=max(float(np.sqrt((joined_returns**2).mean())), float(np.abs(rewards).max()), 1e-12),
        correlation=np.nan if constant else float(np.corrcoef(joined_values, joined_returns)[0, 1]),
    )


def returns_to_go(
    episode: Episode, value: NDArray[np.float64], discount: float, bonus: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the discounted returns [T], and which fraction [T] of a constant bias they show.

    Args:
        episode: T steps.
        value: [T + 1].
        discount: per step.
        bonus: of each step after the first one.
    """
    steps = len(episode)
    returns, seen = np.zeros(steps), np.ones(steps)
    following = 0.0 if episode.terminated else float(value[-1])
    # A value at the end of a cut episode contains the bonus of the steps after it, not its own.
    at_end = not episode.terminated
    for t in range(steps - 1, -1, -1):
        later = bonus if t < steps - 1 or at_end else 0.0
        following = float(episode.reward[t]) + discount * (following + later)
        returns[t] = following
        if at_end:
            seen[t] = 1.0 - discount ** (steps - t)
    return returns, seen
