"""Cart-pole dynamics (Barto, Sutton and Anderson 1983; Florian 2007, eq. 23-24)."""

from __future__ import annotations

import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from torch import Tensor

from mbrl_cli.types import Simulator


class CartPoleSimulator(Simulator):
    """CartPole and CartPoleContinuous; obs = (x, x_dot, angle, angular velocity).

    The action is one-hot [..., 2] (push left, push right), or a force [..., 1] in [-1, 1].
    """

    def __init__(self, env: CartPoleEnv):
        """Read the constants from a live, unwrapped environment."""
        self._continuous = isinstance(env.action_space, spaces.Box)
        self._force = env.force_mag
        self._gravity = env.gravity
        self._mass = env.total_mass
        self._pole_mass = env.masspole
        self._half_length = env.length
        self._dt = env.tau
        self._explicit_euler = env.kinematics_integrator == "euler"
        self._limits = (env.x_threshold, env.theta_threshold_radians)
        self._sutton_barto = env._sutton_barto_reward

    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Integrate one time step of `tau` seconds."""
        x, x_dot, angle, angle_dot = obs.unbind(-1)  # [...] each
        if self._continuous:
            force = self._force * action[..., 0].clamp(-1.0, 1.0)
        else:
            force = self._force * (action[..., 1] - action[..., 0])
        cos, sin = angle.cos(), angle.sin()
        pole_moment = self._pole_mass * self._half_length
        force_per_mass = (force + pole_moment * angle_dot.square() * sin) / self._mass
        inertia = self._half_length * (4.0 / 3.0 - self._pole_mass * cos.square() / self._mass)
        angle_acc = (self._gravity * sin - cos * force_per_mass) / inertia
        x_acc = force_per_mass - pole_moment * angle_acc * cos / self._mass
        x_dot_after = x_dot + self._dt * x_acc
        angle_dot_after = angle_dot + self._dt * angle_acc
        # Explicit Euler uses the old velocities, semi-implicit Euler the new ones.
        x = x + self._dt * (x_dot if self._explicit_euler else x_dot_after)
        angle = angle + self._dt * (angle_dot if self._explicit_euler else angle_dot_after)
        return torch.stack([x, x_dot_after, angle, angle_dot_after], dim=-1)  # [..., 4]

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return 1 for every step; with `sutton_barto_reward` -1 at termination and 0 before."""
        if self._sutton_barto:
            return -self.terminated(obs, action, next_obs).to(next_obs.dtype)
        return torch.ones_like(next_obs[..., 0])

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the position or the angle is beyond its limit."""
        max_x, max_angle = self._limits
        return (next_obs[..., 0].abs() > max_x) | (next_obs[..., 2].abs() > max_angle)
