"""Pendulum-v1: swing up a pendulum with limited torque."""

from __future__ import annotations

import torch
from gymnasium.envs.classic_control import PendulumEnv
from torch import Tensor

from mbrl_cli.types import Simulator


class PendulumSimulator(Simulator):
    """Pendulum; obs = (cos angle, sin angle, angular velocity), action = torque [..., 1]."""

    def __init__(self, env: PendulumEnv):
        """Read the constants from a live, unwrapped environment."""
        self._max_torque = env.max_torque
        self._max_speed = env.max_speed
        self._dt = env.dt
        self._gravity_factor = 3.0 * env.g / (2.0 * env.l)
        self._torque_factor = 3.0 / (env.m * env.l**2)

    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Integrate one time step."""
        cos, sin, speed = obs.unbind(-1)  # [...] each
        angle = torch.atan2(sin, cos)
        acceleration = self._gravity_factor * angle.sin() + self._torque_factor * self._torque(
            action
        )
        speed = speed + acceleration * self._dt
        speed = speed.clamp(-self._max_speed, self._max_speed)
        angle = angle + speed * self._dt
        return torch.stack([angle.cos(), angle.sin(), speed], dim=-1)  # [..., 3]

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the negative cost of the state before the step and of the torque."""
        cos, sin, speed = obs.unbind(-1)
        angle = torch.atan2(sin, cos)
        squared_torque = self._torque(action).square()
        return -(angle.square() + 0.1 * speed.square() + 0.001 * squared_torque)

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return False: the task never terminates."""
        return torch.zeros_like(next_obs[..., 0], dtype=torch.bool)

    def _torque(self, action: Tensor) -> Tensor:
        return self._max_torque * action[..., 0].clamp(-1.0, 1.0)
