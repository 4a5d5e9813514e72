"""Choose the known functions of one of Gymnasium's MuJoCo tasks."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import gymnasium

from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.envs.mujoco_tasks.forward_velocity import ForwardVelocity
from mbrl_cli.envs.mujoco_tasks.task_functions import TaskFunctions
from mbrl_cli.envs.spaces import ActionCodec
from mbrl_cli.envs.transparent_wrappers import without_transparent_wrappers


def mujoco_functions(gym_env: gymnasium.Env[Any, Any], codec: ActionCodec) -> TaskFunctions | None:
    """Return the functions of a MuJoCo task of version 5; None for any other environment.

    Args:
        gym_env: the environment with its wrappers. Wrappers that change values are not allowed,
            except `ForwardVelocity` and `ActionRepeat`.
        codec: converts encoded actions.
    """
    layer = without_transparent_wrappers(gym_env)
    if not isinstance(layer, ActionRepeat):
        return _functions(layer, codec)
    # A repeated action ends with the episode, so the termination is the same function.
    functions = _functions(without_transparent_wrappers(layer.env), codec)
    lacks = (
        "a reward is the sum over repeated steps, which are not observed; "
        "use env.action_repeat=1 or env.reward=learned"
    )
    return functions and replace(functions, reward=None, reward_lacks=lacks)


def _functions(layer: gymnasium.Env[Any, Any], codec: ActionCodec) -> TaskFunctions | None:
    velocity_observed = type(layer) is ForwardVelocity
    if isinstance(layer, ForwardVelocity):
        layer = without_transparent_wrappers(layer.env)
    if "mujoco" not in sys.modules or "gymnasium.envs.mujoco" not in sys.modules:
        return None
    # These modules import MuJoCo, which need not be installed.
    from mbrl_cli.envs.mujoco_tasks.locomotion import TASKS, Locomotion
    from mbrl_cli.envs.mujoco_tasks.other_tasks import other_functions

    if type(layer) in TASKS:
        return Locomotion(layer, codec, velocity_observed).functions()
    return other_functions(layer, codec)


def is_mujoco_task(gym_env: gymnasium.Env[Any, Any]) -> bool:
    """Return whether this is a MuJoCo task of version 5, in wrappers that hold no state."""
    layer = without_transparent_wrappers(gym_env)
    while isinstance(layer, ActionRepeat | ForwardVelocity):
        layer = without_transparent_wrappers(layer.env)
    if "mujoco" not in sys.modules or "gymnasium.envs.mujoco" not in sys.modules:
        return False
    from mbrl_cli.envs.mujoco_tasks.locomotion import TASKS
    from mbrl_cli.envs.mujoco_tasks.other_tasks import OTHER_TASKS

    return type(layer) in (*TASKS, *OTHER_TASKS)
