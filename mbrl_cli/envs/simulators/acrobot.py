"""Acrobot-v1: swing up a two-link pendulum (Sutton and Barto 1998, section 11.3)."""

from __future__ import annotations

import torch
from gymnasium.envs.classic_control import AcrobotEnv
from torch import Tensor

from mbrl_cli.types import Simulator

_GRAVITY = 9.8  # gymnasium's equations contain this number too


class AcrobotSimulator(Simulator):
    """Acrobot; obs = (cos 1, sin 1, cos 2, sin 2, speed 1, speed 2), action = one-hot [..., 3].

    Angle 1 is between the first link and the downward vertical, angle 2 between the second link and
    the first.
    """

    def __init__(self, env: AcrobotEnv):
        """Read the constants from a live, unwrapped environment without torque noise."""
        self._dt = env.dt
        self._torques = tuple(env.AVAIL_TORQUE)
        self._max_speeds = (env.MAX_VEL_1, env.MAX_VEL_2)
        self._masses = (env.LINK_MASS_1, env.LINK_MASS_2)
        self._length = env.LINK_LENGTH_1
        self._centers = (env.LINK_COM_POS_1, env.LINK_COM_POS_2)
        self._inertia = env.LINK_MOI
        self._book = env.book_or_nips != "nips"

    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Integrate one time step with the classical Runge-Kutta method."""
        cos_1, sin_1, cos_2, sin_2, speed_1, speed_2 = obs.unbind(-1)  # [...] each
        angle_1, angle_2 = torch.atan2(sin_1, cos_1), torch.atan2(sin_2, cos_2)
        state = torch.stack([angle_1, angle_2, speed_1, speed_2])  # [4, ...]
        torque = sum(
            (value * action[..., i] for i, value in enumerate(self._torques)),
            start=torch.zeros_like(angle_1),
        )  # [...]
        k1 = self._derivative(state, torque)
        k2 = self._derivative(state + self._dt / 2 * k1, torque)
        k3 = self._derivative(state + self._dt / 2 * k2, torque)
        k4 = self._derivative(state + self._dt * k3, torque)
        state = state + self._dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        angle_1, angle_2, speed_1, speed_2 = state.unbind(0)
        speed_1 = speed_1.clamp(-self._max_speeds[0], self._max_speeds[0])
        speed_2 = speed_2.clamp(-self._max_speeds[1], self._max_speeds[1])
        parts = [angle_1.cos(), angle_1.sin(), angle_2.cos(), angle_2.sin(), speed_1, speed_2]
        return torch.stack(parts, dim=-1)  # [..., 6]

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return 0 for the step that reaches the line, -1 for every other step."""
        return self.terminated(obs, action, next_obs).to(next_obs.dtype) - 1.0

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the tip is above the line, one link length above the fixed joint."""
        cos_1, sin_1, cos_2, sin_2 = next_obs[..., :4].unbind(-1)
        cos_sum = cos_1 * cos_2 - sin_1 * sin_2
        return -cos_1 - cos_sum > 1.0

    def _derivative(self, state: Tensor, torque: Tensor) -> Tensor:
        """Return the time derivative [4, ...] of state [4, ...] under torque [...]."""
        angle_1, angle_2, speed_1, speed_2 = state.unbind(0)
        (m1, m2), (c1, c2) = self._masses, self._centers
        length, inertia = self._length, self._inertia
        cos_2, sin_2 = angle_2.cos(), angle_2.sin()
        d1 = m1 * c1**2 + m2 * (length**2 + c2**2 + 2 * length * c2 * cos_2) + 2 * inertia
        d2 = m2 * (c2**2 + length * c2 * cos_2) + inertia
        phi2 = m2 * c2 * _GRAVITY * (angle_1 + angle_2).sin()
        phi1 = (
            -m2 * length * c2 * speed_2 * (speed_2 + 2 * speed_1) * sin_2
            + (m1 * c1 + m2 * length) * _GRAVITY * angle_1.sin()
            + phi2
        )
        drive = torque + d2 / d1 * phi1 - phi2
        if self._book:  # a term that Sutton's 1996 paper ("nips") omits
            drive = drive - m2 * length * c2 * speed_1.square() * sin_2
        acc_2 = drive / (m2 * c2**2 + inertia - d2.square() / d1)
        acc_1 = -(d2 * acc_2 + phi1) / d1
        return torch.stack([speed_1, speed_2, acc_1, acc_2])
