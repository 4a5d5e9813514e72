"""HalfCheetah, Hopper, Walker2d, Ant, Swimmer and Humanoid, version 5.

reward = weight * x velocity + bonus if healthy - weight * squared action - contact cost
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv
from gymnasium.envs.mujoco.swimmer_v5 import SwimmerEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv
from torch import Tensor

from mbrl_cli.envs.mujoco_tasks.task_functions import TaskFunctions
from mbrl_cli.envs.spaces import ActionCodec

TASKS: tuple[type, ...] = (
    HalfCheetahEnv, HopperEnv, Walker2dEnv, AntEnv, SwimmerEnv, HumanoidEnv
)  # fmt: skip
WRAPPER = "mbrl_cli.envs.mujoco_tasks.forward_velocity.ForwardVelocity"


class Locomotion:
    """Reward and termination of a task that rewards forward velocity.

    The x velocity is that of a step: distance / dt. Where `ForwardVelocity` or the x position is
    observed, it is computed exactly. Otherwise it is the mean of the x velocities at the start
    and at the end of the step, which is an approximation.

    Axes: any leading axes `...`, O obs_dim, A action dim.
    """

    def __init__(self, env: Any, codec: ActionCodec, velocity_observed: bool) -> None:
        """Read the constants from a live, unwrapped environment.

        Args:
            env: an environment of one of `TASKS`.
            codec: converts encoded actions.
            velocity_observed: whether `ForwardVelocity` has appended the velocity.
        """
        self._codec = codec
        self._velocity_observed = velocity_observed
        sizes = env.observation_structure
        self._skipped = sizes["skipped_qpos"]
        self._x_velocity = sizes["qpos"]  # index of the first velocity
        self._dt = float(env.dt)
        self._forward_weight: float = env._forward_reward_weight
        self._ctrl_weight: float = env._ctrl_cost_weight
        self._bonus: float = getattr(env, "_healthy_reward", 0.0)
        self._terminates = getattr(env, "_terminate_when_unhealthy", False)
        self._contact_weight: float = getattr(env, "_contact_cost_weight", 0.0)
        self._contact_cost_range = getattr(env, "_contact_cost_range", (None, None))
        order = ("qpos", "qvel", "cinert", "cvel", "qfrc_actuator", "cfrc_ext")
        end = sum(sizes.get(part, 0) for part in order)
        self._num_contact = sizes.get("cfrc_ext", 0)
        self._contact = slice(end - self._num_contact, end)
        self._ranges = self._healthy_ranges(env)
        self._is_humanoid, self._is_ant = isinstance(env, HumanoidEnv), isinstance(env, AntEnv)

    def functions(self) -> TaskFunctions:
        """Return the functions, or what the observations lack."""
        lacks, notes = "", []
        if self._contact_weight > 0 and not self._num_contact:
            lacks = (
                "its reward has a cost of contact forces, which are not observed; "
                "use env.kwargs.include_cfrc_ext_in_observation=true or "
                "env.kwargs.contact_cost_weight=0"
            )
        elif self._is_humanoid and not self._velocity_observed:
            lacks = (
                "its reward has the velocity of the centre of mass, which is not observed; "
                f"use 'env.wrappers=[{WRAPPER}]'"
            )
        elif not self._velocity_observed and (self._is_ant or self._skipped):
            notes.append(("reward", f"is approximate; 'env.wrappers=[{WRAPPER}]' makes it exact"))
        reward = None if lacks else self.reward
        return TaskFunctions(reward, self.terminated, lacks, tuple(notes))

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the reward [...] of each transition."""
        cost = self._ctrl_weight * self._codec.decode(action).square().sum(dim=-1)  # [...]
        reward = self._forward_weight * self._velocity(obs, next_obs) - cost
        if self._bonus:
            reward = reward + self._bonus * self._healthy(next_obs)
        if self._contact_weight > 0:
            cost = self._contact_weight * next_obs[..., self._contact].square().sum(dim=-1)
            low, high = self._contact_cost_range
            reward = reward - (cost if low is None else cost.clamp(low, high))
        return reward

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return [...] (bool) whether the robot has fallen."""
        if self._terminates:
            return ~self._healthy(next_obs)
        return torch.zeros_like(next_obs[..., 0], dtype=torch.bool)

    def _velocity(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        """Return the x velocity [...] of the step."""
        if self._velocity_observed:
            return next_obs[..., -1]
        if not self._skipped:
            return (next_obs[..., 0] - obs[..., 0]) / self._dt
        return (obs[..., self._x_velocity] + next_obs[..., self._x_velocity]) / 2.0

    def _healthy(self, obs: Tensor) -> Tensor:
        """Return [...] (bool) whether height and posture are in the task's ranges."""
        healthy = torch.ones_like(obs[..., 0], dtype=torch.bool)
        for entries, (low, high) in self._ranges:
            value = obs[..., entries]
            inside = (
                (low <= value) & (value <= high) if self._is_ant else (low < value) & (value < high)
            )
            healthy = healthy & inside.all(dim=-1)
        return healthy

    def _healthy_ranges(self, env: Any) -> list[tuple[slice, tuple[float, float]]]:
        """Return ranges of entries of an observation."""
        skipped = self._skipped
        first, second = (slice(k - skipped, k - skipped + 1) for k in (1, 2))
        if isinstance(env, AntEnv | HumanoidEnv):  # x, y and height come first
            return [(second, env._healthy_z_range)]
        if not isinstance(env, HopperEnv | Walker2dEnv):
            return []
        ranges = [(first, env._healthy_z_range), (second, env._healthy_angle_range)]
        if isinstance(env, HopperEnv):  # the positions from the angle on, and all velocities
            end = self._x_velocity + env.model.nv
            ranges.append((slice(2 - skipped, end), env._healthy_state_range))
        return ranges
