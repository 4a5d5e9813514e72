"""InvertedPendulum, InvertedDoublePendulum, Reacher, Pusher, HumanoidStandup; CartPoleSwingUp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import torch
from gymnasium.envs.mujoco.humanoidstandup_v5 import HumanoidStandupEnv
from gymnasium.envs.mujoco.inverted_double_pendulum_v5 import InvertedDoublePendulumEnv
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv
from gymnasium.envs.mujoco.pusher_v5 import PusherEnv
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from torch import Tensor

from mbrl_cli.envs.cartpole_swingup import ACTION_COST, POLE_LENGTH, CartPoleSwingUp
from mbrl_cli.envs.mujoco_tasks.task_functions import TaskFunctions
from mbrl_cli.envs.spaces import ActionCodec


def other_functions(env: Any, codec: ActionCodec) -> TaskFunctions | None:
    """Return the functions of a live, unwrapped environment; None for other environments."""
    build = _FUNCTIONS_OF.get(type(env))
    return None if build is None else build(env, codec)


def _inverted_pendulum(env: Any, codec: ActionCodec) -> TaskFunctions:
    """Observation: cart, pole angle and their velocities."""

    def terminated(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return next_obs[..., 1].abs() > 0.2

    def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return (~terminated(obs, action, next_obs)).to(next_obs.dtype)

    return TaskFunctions(reward, terminated)


def _inverted_double_pendulum(env: Any, codec: ActionCodec) -> TaskFunctions:
    """Observation: cart, sin [2] and cos [2] of the angles, velocities [3] clipped to 10, force.

    The environment reads the tip's position before the last stage of its integrator ends, which
    changes it by less than 1e-4.
    """
    bonus: float = env._healthy_reward
    first = float(env.model.body("pole2").pos[2])  # lengths of the poles
    second = float(env.model.site(0).pos[2])

    def tip(obs: Tensor) -> tuple[Tensor, Tensor]:
        sin1, sin2, cos1, cos2 = obs[..., 1:5].unbind(-1)
        x = obs[..., 0] + first * sin1 + second * (sin1 * cos2 + cos1 * sin2)
        return x, first * cos1 + second * (cos1 * cos2 - sin1 * sin2)

    def terminated(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return tip(next_obs)[1] <= 1.0

    def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        x, y = tip(next_obs)
        speed1, speed2 = next_obs[..., 6], next_obs[..., 7]
        cost = 0.01 * x.square() + (y - 2.0).square()
        cost = cost + 1e-3 * speed1.square() + 5e-3 * speed2.square()
        return bonus * (y > 1.0) - cost

    clipped = "is not exact where a pole turns faster than 10 rad/s, which is not observed"
    ends = "may differ where the tip is within 1e-4 of the height 1"
    return TaskFunctions(reward, terminated, notes=(("reward", clipped), ("termination", ends)))


def _reacher(env: Any, codec: ActionCodec) -> TaskFunctions:
    """The last two entries of an observation are x and y of the fingertip from the target."""
    distance_weight: float = env._reward_dist_weight
    ctrl_weight: float = env._reward_control_weight
    at_start = mujoco.MjData(env.model)
    mujoco.mj_forward(env.model, at_start)
    height = float(at_start.body("fingertip").xpos[2] - at_start.body("target").xpos[2])

    def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        distance = (next_obs[..., -2:].square().sum(dim=-1) + height**2).sqrt()
        cost = ctrl_weight * codec.decode(action).square().sum(dim=-1)
        return -distance_weight * distance - cost

    return TaskFunctions(reward, _never)


def _pusher(env: Any, codec: ActionCodec) -> TaskFunctions:
    """The last nine entries of an observation are the positions of arm tip, object and goal."""
    near_weight: float = env._reward_near_weight
    distance_weight: float = env._reward_dist_weight
    ctrl_weight: float = env._reward_control_weight

    def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        tip, thing, goal = next_obs[..., 14:17], next_obs[..., 17:20], next_obs[..., 20:23]
        near: Tensor = near_weight * torch.linalg.vector_norm(thing - tip, dim=-1)
        distance: Tensor = distance_weight * torch.linalg.vector_norm(thing - goal, dim=-1)
        cost = ctrl_weight * codec.decode(action).square().sum(dim=-1)
        return -near - distance - cost

    return TaskFunctions(reward, _never)


def _humanoid_standup(env: Any, codec: ActionCodec) -> TaskFunctions:
    """The last entries of an observation are the contact forces."""
    sizes = env.observation_structure
    num_contact = sizes["cfrc_ext"]
    if env._impact_cost_weight > 0 and not num_contact:
        lacks = (
            "its reward has a cost of contact forces, which are not observed; "
            "use env.kwargs.include_cfrc_ext_in_observation=true or env.kwargs.impact_cost_weight=0"
        )
        return TaskFunctions(None, _never, lacks)
    height = 2 - sizes["skipped_qpos"]
    per_second: float = 1.0 / env.model.opt.timestep
    ctrl_weight: float = env._ctrl_cost_weight
    impact_weight: float = env._impact_cost_weight
    low, high = env._impact_cost_range

    def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        cost = ctrl_weight * codec.decode(action).square().sum(dim=-1)
        if impact_weight > 0:
            impact = impact_weight * next_obs[..., -num_contact:].square().sum(dim=-1)
            cost = cost + impact.clamp(low, high)
        risen: Tensor = next_obs[..., height] * per_second
        return risen - cost + 1.0

    return TaskFunctions(reward, _never)


def _cartpole_swingup(env: Any, codec: ActionCodec) -> TaskFunctions:
    """Observation: cart position, sin and cos of the pole's angle, velocities."""

    def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        x, sin, cos = next_obs[..., :3].unbind(-1)
        distance = (x - POLE_LENGTH * sin).square() + (POLE_LENGTH * (cos + 1.0)).square()
        cost = ACTION_COST * codec.decode(action).square().sum(dim=-1)
        return torch.exp(-distance / POLE_LENGTH**2) - cost

    return TaskFunctions(reward, _never)


def _never(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    return torch.zeros_like(next_obs[..., 0], dtype=torch.bool)


_FUNCTIONS_OF: dict[type, Callable[[Any, ActionCodec], TaskFunctions]] = {
    InvertedPendulumEnv: _inverted_pendulum,
    InvertedDoublePendulumEnv: _inverted_double_pendulum,
    ReacherEnv: _reacher,
    PusherEnv: _pusher,
    HumanoidStandupEnv: _humanoid_standup,
    CartPoleSwingUp: _cartpole_swingup,
}
OTHER_TASKS: tuple[type, ...] = tuple(_FUNCTIONS_OF)
