"""Swing-up of a torque-limited pendulum, as gymnasium's Pendulum-v1 integrates it."""

from __future__ import annotations

import torch
from gymnasium.envs.classic_control import PendulumEnv
from torch import Tensor


class PendulumSimulator:
    """Pendulum; obs = (cos angle, sin angle, angular velocity), action = torque [..., 1]."""

    def __init__(self, env: PendulumEnv):
        """Read the constants from a live, unwrapped environment."""
        self._max_torque = env.max_torque
        self._max_speed = env.max_speed
        self._dt = env.dt
        self._pull = 3.0 * env.g / (2.0 * env.l)
        self._drive = 3.0 / (env.m * env.l**2)

    def step(self, obs: Tensor, action: Tensor) -> Tensor:
        """Apply the torque for one time step."""
        cos, sin, speed = obs.unbind(-1)  # [...] each
        angle = torch.atan2(sin, cos)
        speed = speed + (self._pull * angle.sin() + self._drive * self._torque(action)) * self._dt
        speed = speed.clamp(-self._max_speed, self._max_speed)
        angle = angle + speed * self._dt
        return torch.stack([angle.cos(), angle.sin(), speed], dim=-1)  # [..., 3]

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return minus the cost of the state before the step and of the torque."""
        cos, sin, speed = obs.unbind(-1)
        angle = torch.atan2(sin, cos)
        effort = self._torque(action).square()
        return -(angle.square() + 0.1 * speed.square() + 0.001 * effort)

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return False: only the time limit ends a swing-up."""
        return torch.zeros_like(next_obs[..., 0], dtype=torch.bool)

    def _torque(self, action: Tensor) -> Tensor:
        return self._max_torque * action[..., 0].clamp(-1.0, 1.0)
