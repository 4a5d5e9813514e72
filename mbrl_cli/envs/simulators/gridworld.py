"""Batched dynamics of the grid world."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.envs.gridworld import GOAL_REWARD, MOVES, STEP_REWARD, GridWorld
from mbrl_cli.types import Simulator


class GridWorldSimulator(Simulator):
    """GridWorld; obs = (x, y), action = one-hot [..., 4] (up, down, left, right).

    Positions are rounded first, so that the functions accept a model's predictions too.
    """

    def __init__(self, env: GridWorld):
        """Read the grid from a live, unwrapped environment."""
        self._edge = env.size - 1
        self._goal = env.goal
        self._moves = torch.tensor(MOVES)  # [4, 2]
        self._blocked = torch.zeros(env.size, env.size, dtype=torch.bool)  # [x, y]
        for cell in env.obstacles:
            self._blocked[cell] = True

    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Move one cell; a wall or an obstacle stops the move."""
        if self._blocked.device != obs.device:  # copied once, not at every step
            self._blocked, self._moves = self._blocked.to(obs.device), self._moves.to(obs.device)
        cell = obs.round().long().clamp(0, self._edge)  # [..., 2]
        target = (cell + self._moves[action.argmax(dim=-1)]).clamp(0, self._edge)
        blocked = self._blocked[target[..., 0], target[..., 1]]  # [...]
        return torch.where(blocked[..., None], cell, target).to(obs.dtype)

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return 100 at the goal, -1 elsewhere."""
        goal = self.terminated(obs, action, next_obs).to(next_obs.dtype)
        return STEP_REWARD + (GOAL_REWARD - STEP_REWARD) * goal

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the goal is reached."""
        x, y = next_obs.round().unbind(-1)
        return (x == self._goal[0]) & (y == self._goal[1])
