"""A car too weak for its hill (Moore 1990), as MountainCar-v0 and MountainCarContinuous-v0."""

from __future__ import annotations

import torch
from gymnasium.envs.classic_control import Continuous_MountainCarEnv, MountainCarEnv
from torch import Tensor


class MountainCarSimulator:
    """MountainCar and MountainCarContinuous; obs = (position, velocity).

    The action is one-hot [..., 3] (left, coast, right), or a push [..., 1] in [-1, 1].
    """

    def __init__(self, env: MountainCarEnv | Continuous_MountainCarEnv):
        """Read the constants from a live, unwrapped environment."""
        self._continuous = isinstance(env, Continuous_MountainCarEnv)
        if isinstance(env, Continuous_MountainCarEnv):
            self._power, self._gravity = env.power, 0.0025  # a literal in gymnasium's equations
        else:
            self._power, self._gravity = env.force, env.gravity
        self._low, self._high = env.min_position, env.max_position
        self._max_speed = env.max_speed
        self._goal_position: float = env.goal_position
        self._goal_velocity: float = env.goal_velocity

    def step(self, obs: Tensor, action: Tensor) -> Tensor:
        """Push the car for one time step; the left wall stops it."""
        position, velocity = obs.unbind(-1)  # [...] each
        pull = self._gravity * (3.0 * position).cos()
        velocity = velocity + self._power * self._push(action) - pull
        velocity = velocity.clamp(-self._max_speed, self._max_speed)
        position = position + velocity
        stopped = (position <= self._low) & (velocity < 0)
        velocity = velocity.masked_fill(stopped, 0.0)
        return torch.stack([position.clamp(self._low, self._high), velocity], dim=-1)  # [..., 2]

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return -1 a step; continuous: 100 at the goal minus a tenth of the squared push."""
        if not self._continuous:
            return -torch.ones_like(next_obs[..., 0])
        goal = self.terminated(obs, action, next_obs).to(next_obs.dtype)
        return 100.0 * goal - 0.1 * self._push(action).square()

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the car is at the flag, and fast enough."""
        position, velocity = next_obs.unbind(-1)
        return (position >= self._goal_position) & (velocity >= self._goal_velocity)

    def _push(self, action: Tensor) -> Tensor:
        if self._continuous:
            return action[..., 0].clamp(-1.0, 1.0)
        return action[..., 2] - action[..., 0]
