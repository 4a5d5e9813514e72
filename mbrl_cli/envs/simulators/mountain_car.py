"""MountainCar-v0 and MountainCarContinuous-v0: an underpowered car in a valley (Moore 1990)."""

from __future__ import annotations

import torch
from gymnasium.envs.classic_control import Continuous_MountainCarEnv, MountainCarEnv
from torch import Tensor

from mbrl_cli.types import Simulator


class MountainCarSimulator(Simulator):
    """MountainCar and MountainCarContinuous; obs = (position, velocity).

    The action is one-hot [..., 3] (left, no force, right), or a force [..., 1] in [-1, 1].
    """

    def __init__(self, env: MountainCarEnv | Continuous_MountainCarEnv):
        """Read the constants from a live, unwrapped environment."""
        self._continuous = isinstance(env, Continuous_MountainCarEnv)
        if isinstance(env, Continuous_MountainCarEnv):
            self._power, self._gravity = env.power, 0.0025  # number in gymnasium's equations
        else:
            self._power, self._gravity = env.force, env.gravity
        self._low, self._high = env.min_position, env.max_position
        self._max_speed = env.max_speed
        self._goal_position: float = env.goal_position
        self._goal_velocity: float = env.goal_velocity

    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Integrate one time step; the left wall stops the car."""
        position, velocity = obs.unbind(-1)  # [...] each
        slope_force = self._gravity * (3.0 * position).cos()
        velocity = velocity + self._power * self._force(action) - slope_force
        velocity = velocity.clamp(-self._max_speed, self._max_speed)
        position = position + velocity
        at_wall = (position <= self._low) & (velocity < 0)
        velocity = velocity.masked_fill(at_wall, 0.0)
        return torch.stack([position.clamp(self._low, self._high), velocity], dim=-1)  # [..., 2]

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return -1 for each step; continuous: 100 at the goal minus 0.1 * force squared."""
        if not self._continuous:
            return -torch.ones_like(next_obs[..., 0])
        goal = self.terminated(obs, action, next_obs).to(next_obs.dtype)
        return 100.0 * goal - 0.1 * self._force(action).square()

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether position and velocity have reached the goal's."""
        position, velocity = next_obs.unbind(-1)
        return (position >= self._goal_position) & (velocity >= self._goal_velocity)

    def _force(self, action: Tensor) -> Tensor:
        if self._continuous:
            return action[..., 0].clamp(-1.0, 1.0)
        return action[..., 2] - action[..., 0]
