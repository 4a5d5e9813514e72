"""Gymnasium's toy text as tables of what may happen: FrozenLake, Taxi, CliffWalking."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class _Tabular(Protocol):
    # Of each state and choice: chance, next state, reward, whether the task is over then.
    P: dict[int, dict[int, list[tuple[float, int, float, bool]]]]


class ToyTextSimulator:
    """A finite MDP; obs = one-hot [..., S], action = one-hot [..., K].

    Axes: S states, K choices, C outcomes of a choice.
    """

    def __init__(self, env: _Tabular):
        """Read the tables from a live, unwrapped environment."""
        rows = [[env.P[s][k] for k in range(len(env.P[s]))] for s in range(len(env.P))]
        most = max(len(outcomes) for row in rows for outcomes in row)
        padded = [
            [outcomes + [(0.0, *outcomes[-1][1:])] * (most - len(outcomes)) for outcomes in row]
            for row in rows
        ]
        table = torch.tensor(padded, dtype=torch.float64)  # [S, K, C, 4]
        self._chance, target, reward, ended = table.float().unbind(-1)
        self._target, self._reward, self._ended = target.long(), reward, ended
        self.is_random = most > 1

    def step(self, obs: Tensor, action: Tensor, luck: Tensor | None = None) -> Tensor:
        """Move as `luck` [...], uniform in [0, 1), has it; None: what is likeliest happens."""
        at = self._at(obs, action)
        chance = self._chance[at]  # [..., C]
        if luck is None:
            outcome = chance.argmax(-1, keepdim=True)
        else:
            passed = luck[..., None] >= chance.cumsum(-1)
            outcome = passed[..., :-1].sum(-1, keepdim=True)
        target = self._target[at].gather(-1, outcome)  # [..., 1]
        return torch.zeros_like(obs).scatter_(-1, target, 1.0)

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the mean reward of the outcomes that lead to `next_obs`."""
        return self._mean("_reward", obs, action, next_obs)

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether these outcomes end the task."""
        return self._mean("_ended", obs, action, next_obs) > 0.5

    def _mean(self, field: str, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        at = self._at(obs, action)
        led = self._target[at] == next_obs.argmax(-1, keepdim=True)  # [..., C]
        weight = self._chance[at] * led
        total = (weight * getattr(self, field)[at]).sum(-1)
        mean: Tensor = total / weight.sum(-1).clamp_min(1e-12)
        return mean

    def _at(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        if self._chance.device != obs.device:  # moved once, not for every step
            for name in ("_chance", "_target", "_reward", "_ended"):
                setattr(self, name, getattr(self, name).to(obs.device))
        return obs.argmax(-1), action.argmax(-1)
