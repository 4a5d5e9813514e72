"""The true dynamics, reward and termination of an environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.mujoco_tasks.choice import mujoco_functions
from mbrl_cli.errors import UserError
from mbrl_cli.models.oracle import Oracle
from mbrl_cli.types import EnvSpec, TransitionFn


class Truth:
    """What a learned model is compared with.

    Dynamics come from a batched simulator, or from copies of the environment. Reward and
    termination of imagined transitions need functions of observations: those of the simulator, or
    those of a MuJoCo task.

    Attributes:
        oracle: the environment as a model; functions that the run's config names do not apply.
        reward: true reward of a transition; None: not known as a function.
        termination: whether a transition ends the task; None: not known as a function.
        is_batched: whether the dynamics are computed for all rows at once. Copies are slow.
    """

    def __init__(self, env: Env, new_env: Callable[[], Env], device: torch.device) -> None:
        """Find the truth.

        Args:
            env: an environment of the run.
            new_env: builds another one, in which copies are tested.
            device: where states live.

        Raises:
            UserError: if there is no simulator and the environment cannot be copied.
        """
        spec = _without_known_functions(env.spec)
        if spec.obs_shape is not None:
            raise UserError(f"{spec.id} observes images, and true dynamics need vectors")
        self.oracle = Oracle(spec, device, torch.Generator())
        self.is_batched = spec.simulator is not None
        self.reward: TransitionFn | None = None
        self.termination: TransitionFn | None = None
        if spec.simulator is not None:
            self.reward, self.termination = spec.simulator.reward, spec.simulator.terminated
            return
        scratch = new_env()
        try:
            self.oracle.choose_copies(scratch)
        finally:
            scratch.close()
        task = mujoco_functions(env.gym, env.codec)
        if task is not None:
            self.reward, self.termination = task.reward, task.termination


def _without_known_functions(spec: EnvSpec) -> EnvSpec:
    """Return the spec without functions of the config: they may be what is wrong."""
    return replace(spec, known_reward=None, known_termination=None)
