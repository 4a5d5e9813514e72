"""Reward and termination functions that are known instead of learned."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mbrl_cli.envs.mujoco_tasks.task_functions import TaskFunctions
from mbrl_cli.envs.simulators.builtin import BUILTIN_IDS
from mbrl_cli.envs.spaces import ActionCodec
from mbrl_cli.envs.user_function import check_returned_shape, example_inputs, load_user_function
from mbrl_cli.errors import UserError
from mbrl_cli.types import Simulator, TransitionFn


def known_function(
    role: Literal["reward", "termination"],
    choice: str,
    env_id: str,
    obs_dim: int,
    codec: ActionCodec,
    simulator: Simulator | None,
    task: TaskFunctions | None = None,
) -> TransitionFn | None:
    """Return the function that `env.<role>=<choice>` names, or None if it is learned.

    The simulator has priority over `task`, which holds the functions of a MuJoCo task.
    A function `package.module:function` gets the action in the environment's own units (see
    `ActionCodec.decode`).

    Raises:
        UserError: if the function does not exist, or does not return one number for each row.
    """
    if choice == "learned":
        return None
    if choice == "known":
        if simulator is None and task is not None:
            found = task.reward if role == "reward" else task.termination
            if found is None:
                raise UserError(f"env.{role}=known: {env_id}: {task.reward_lacks}")
            return found
        if simulator is None:
            raise UserError(
                f"env.{role}=known: no simulator of {env_id} with these wrappers and kwargs; "
                f"simulated are {', '.join(BUILTIN_IDS)}; known are also Gymnasium's MuJoCo tasks "
                "of version 5; "
                f"use env.{role}=learned, or add one: env.simulator=package.module:function"
            )
        return simulator.reward if role == "reward" else simulator.terminated
    function = load_user_function(f"env.{role}", choice, "learned, known")

    def decode_and_call(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        result: Tensor = function(obs, codec.decode(action), next_obs)
        return result

    obs, action = example_inputs(obs_dim, codec.spec.dim)
    check_returned_shape(
        f"env.{role}={choice}", decode_and_call, (obs, action, obs), obs.shape[:-1]
    )
    return decode_and_call
