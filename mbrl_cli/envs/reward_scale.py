"""Scaling of the rewards that learners see (`env.reward_scale`)."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.types import EnvSpec, Simulator, TransitionFn


def with_reward_scale(spec: EnvSpec, scale: float) -> EnvSpec:
    """Return the spec with known rewards and the simulator's rewards multiplied by `scale`.

    Raises UserError if the scale is not a positive number.
    """
    if not (scale > 0.0 and math.isfinite(scale)):
        raise UserError(f"env.reward_scale={scale}: must be a number > 0")
    if scale == 1.0:
        return spec
    reward, simulator = spec.known_reward, spec.simulator
    return replace(
        spec,
        reward_scale=scale,
        known_reward=None if reward is None else _scaled(reward, scale),
        simulator=None if simulator is None else _ScaledSimulator(simulator, scale),
    )


def _scaled(reward: TransitionFn, scale: float) -> TransitionFn:
    def scaled_reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return scale * reward(obs, action, next_obs)

    return scaled_reward


class _ScaledSimulator(Simulator):
    """A simulator whose rewards are multiplied by a factor."""

    def __init__(self, simulator: Simulator, scale: float) -> None:
        self.simulator = simulator
        self.scale = scale
        self.is_random = simulator.is_random

    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Return the next observations; see `Simulator.step`."""
        if uniform is None:  # a user's simulator may lack the argument
            return self.simulator.step(obs, action)
        return self.simulator.step(obs, action, uniform)

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the scaled rewards."""
        return self.scale * self.simulator.reward(obs, action, next_obs)

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the task terminated; see `Simulator.terminated`."""
        return self.simulator.terminated(obs, action, next_obs)
