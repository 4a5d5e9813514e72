"""Cart-pole dynamics (Barto, Sutton and Anderson 1983; equations of Florian 2007, eq. 23-24)."""

from __future__ import annotations

import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from torch import Tensor


class CartPoleSimulator:
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
        self._length = env.length  # half of the pole's
        self._dt = env.tau
        self._explicit = env.kinematics_integrator == "euler"
        self._limits = (env.x_threshold, env.theta_threshold_radians)
        self._sutton_barto = env._sutton_barto_reward

    def step(self, obs: Tensor, action: Tensor) -> Tensor:
        """Push the cart for one time step."""
        x, x_dot, angle, angle_dot = obs.unbind(-1)  # [...] each
        if self._continuous:
            force = self._force * action[..., 0].clamp(-1.0, 1.0)
        else:
            force = self._force * (action[..., 1] - action[..., 0])
        cos, sin = angle.cos(), angle.sin()
        pole = self._pole_mass * self._length
        push = (force + pole * angle_dot.square() * sin) / self._mass
        inertia = self._length * (4.0 / 3.0 - self._pole_mass * cos.square() / self._mass)
        angle_acc = (self._gravity * sin - cos * push) / inertia
        x_acc = push - pole * angle_acc * cos / self._mass
        x_dot_after = x_dot + self._dt * x_acc
        angle_dot_after = angle_dot + self._dt * angle_acc
        # The explicit Euler step moves with the old velocities, the semi-implicit with the new.
        x = x + self._dt * (x_dot if self._explicit else x_dot_after)
        angle = angle + self._dt * (angle_dot if self._explicit else angle_dot_after)
        return torch.stack([x, x_dot_after, angle, angle_dot_after], dim=-1)  # [..., 4]

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return 1 for every step, or -1 for the fall alone (`sutton_barto_reward`)."""
        if self._sutton_barto:
            return -self.terminated(obs, action, next_obs).to(next_obs.dtype)
        return torch.ones_like(next_obs[..., 0])

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the cart left the track or the pole fell."""
        max_x, max_angle = self._limits
        return (next_obs[..., 0].abs() > max_x) | (next_obs[..., 2].abs() > max_angle)
