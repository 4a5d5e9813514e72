"""Gymnasium's toy-text environments FrozenLake, Taxi and CliffWalking, from transition tables."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from mbrl_cli.types import Simulator


class _Tabular(Protocol):
    # P[state][action] lists the outcomes (probability, next state, reward, terminated).
    P: dict[int, dict[int, list[tuple[float, int, float, bool]]]]


class ToyTextSimulator(Simulator):
    """A finite MDP; obs = one-hot [..., S], action = one-hot [..., K].

    Axes: S states, K actions, C outcomes of an action.
    """

    def __init__(self, env: _Tabular):
        """Read the transition table from a live, unwrapped environment."""
        rows = [[env.P[s][k] for k in range(len(env.P[s]))] for s in range(len(env.P))]
        num_outcomes = max(len(outcomes) for row in rows for outcomes in row)
        # Shorter lists are padded with outcomes of probability 0.
        padded = [
            [
                outcomes + [(0.0, *outcomes[-1][1:])] * (num_outcomes - len(outcomes))
                for outcomes in row
            ]
            for row in rows
        ]
        table = torch.tensor(padded, dtype=torch.float64)  # [S, K, C, 4]
        self._probability, target, reward, terminated = table.float().unbind(-1)  # [S, K, C] each
        self._target, self._reward, self._terminated = target.long(), reward, terminated
        self.is_random = num_outcomes > 1

    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Draw the next state by inverting the cumulative distribution of the outcomes."""
        index = self._index(obs, action)
        probability = self._probability[index]  # [..., C]
        if uniform is None:
            outcome = probability.argmax(-1, keepdim=True)  # [..., 1]
        else:
            below = uniform[..., None] >= probability.cumsum(-1)  # [..., C]
            outcome = below[..., :-1].sum(-1, keepdim=True)  # [..., 1]
        target = self._target[index].gather(-1, outcome)  # [..., 1]
        return torch.zeros_like(obs).scatter_(-1, target, 1.0)

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the mean reward of the outcomes that lead to `next_obs`."""
        return self._mean("_reward", obs, action, next_obs)

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the outcomes that lead to `next_obs` terminate the task."""
        return self._mean("_terminated", obs, action, next_obs) > 0.5

    def _mean(self, field: str, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        index = self._index(obs, action)
        leads_there = self._target[index] == next_obs.argmax(-1, keepdim=True)  # [..., C]
        weight = self._probability[index] * leads_there  # [..., C]
        total = (weight * getattr(self, field)[index]).sum(-1)  # [...]
        mean: Tensor = total / weight.sum(-1).clamp_min(1e-12)
        return mean

    def _index(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        if self._probability.device != obs.device:  # copied once, not at every step
            for name in ("_probability", "_target", "_reward", "_terminated"):
                setattr(self, name, getattr(self, name).to(obs.device))
        return obs.argmax(-1), action.argmax(-1)
