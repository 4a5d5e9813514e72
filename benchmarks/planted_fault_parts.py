"""Faults that `planted_faults.py` plants: wrong functions, and wrappers that spoil the data."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from torch import Tensor

REPORTED_LIMIT = 60  # steps after which `LimitAsTermination` reports an end of the task


def rewards_tilt(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return a wrong reward for a pole: it grows with the pole's angle."""
    angle = next_obs[..., 2] if next_obs.shape[-1] == 4 else next_obs[..., 1]
    return torch.where(angle.abs() > 0.2, 5.0, angle.abs() * 10.0)


def ends_when_upright(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Return a wrong termination for a pole: the task ends where the pole is upright."""
    angle = next_obs[..., 2] if next_obs.shape[-1] == 4 else next_obs[..., 1]
    return angle.abs() < 0.05


class DelayedAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Execute the action of the step before; the first step repeats the first action."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self.last = None
        return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take the action of the step before."""
        executed = action if self.last is None else self.last
        self.last = action
        return self.env.step(executed)


class LimitAsTermination(gymnasium.Wrapper[Any, Any, Any, Any]):
    """End episodes after a number of steps, and report this as an end of the task."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self.steps = 0
        return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        return obs, reward, terminated or self.steps >= REPORTED_LIMIT, truncated, info
