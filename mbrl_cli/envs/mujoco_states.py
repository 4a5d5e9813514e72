"""Steps of Gymnasium's MuJoCo tasks from given states, in parallel threads."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.env_copies import EnvCopies, EnvState, Outcome, copy_attributes
from mbrl_cli.envs.object_graph import find_objects
from mbrl_cli.envs.transparent_wrappers import without_transparent_wrappers

# Arrays that these tasks read before they step; everything else is computed from the state.
READ_BEFORE_STEP = ("xpos", "xipos")
ROWS_PER_THREAD = 4  # fewer are not worth the start of a thread


class MujocoStates(EnvCopies):
    """Set the simulation's state (`mjSTATE_INTEGRATION`) and call the task's own `step`.

    Only for tasks whose Python objects hold no state of an episode and that draw no random numbers
    in `step`; see `is_mujoco_task`. The time limit does not count imagined steps. One environment
    for each thread of torch is copied once; they share the `MjModel`, which no step changes. MuJoCo
    releases the interpreter's lock during a step, so the threads run in parallel.
    """

    def __init__(self) -> None:
        self._mujoco = sys.modules["mujoco"]
        self._workers: list[Any] = []  # the task with the wrappers that change values
        self._pool: ThreadPoolExecutor | None = None

    def take(self, env: Env) -> EnvState:
        """Return the state of a live environment."""
        if not self._workers:
            count = torch.get_num_threads()
            self._workers = [self._worker(env) for _ in range(count)]
            self._pool = ThreadPoolExecutor(count) if count > 1 else None
        return EnvState(env, [], self._read(env.gym.unwrapped))

    def step(self, state: EnvState, action: NDArray[Any], seed: int) -> tuple[Outcome, EnvState]:
        """Take one encoded action [A] from a state."""
        return self.step_all([state], action[None], [seed])[0]

    def step_all(
        self, states: Sequence[EnvState], actions: NDArray[Any], seeds: Sequence[int]
    ) -> list[tuple[Outcome, EnvState]]:
        """Take the encoded actions [n, A] from n states; no random number is drawn."""
        own = states[0].env.codec.all_to_env(actions) if states else []
        count = min(len(self._workers), len(states) // ROWS_PER_THREAD)
        if self._pool is None or count < 2:
            return self._steps(0, states, own)
        parts = [len(states) * k // count for k in range(count + 1)]
        slices = [slice(low, high) for low, high in pairwise(parts)]
        futures = [
            self._pool.submit(self._steps, worker, states[rows], own[rows])
            for worker, rows in enumerate(slices)
        ]
        return [result for future in futures for result in future.result()]

    def _steps(
        self, worker: int, states: Sequence[EnvState], actions: Sequence[Any]
    ) -> list[tuple[Outcome, EnvState]]:
        """Take one action from each state, in the environment of one thread."""
        layer = self._workers[worker]
        task = layer.unwrapped
        results = []
        for state, action in zip(states, actions, strict=True):
            self._write(task, state.arrays)
            obs, reward, terminated, truncated, _ = layer.step(action)
            outcome = np.asarray(obs, np.float32), float(reward), bool(terminated), bool(truncated)
            results.append((outcome, EnvState(state.env, [], self._read(task))))
        return results

    def _worker(self, env: Env) -> Any:
        task: Any = env.gym.unwrapped
        memo: dict[int, Any] = {id(m): m for m in find_objects(env, (self._mujoco.MjModel,))}
        for data in find_objects(env, (self._mujoco.MjData,)):
            memo[id(data)] = copy.copy(data)
        memo[id(task.mujoco_renderer)] = SimpleNamespace()  # workers are never drawn
        copied, _ = copy_attributes(env, [], memo)
        return without_transparent_wrappers(copied.gym)

    def _read(self, task: Any) -> list[NDArray[Any]]:
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(self._mujoco.mj_stateSize(task.model, kind))
        self._mujoco.mj_getState(task.model, task.data, state, kind)
        return [state, *(getattr(task.data, name).copy() for name in READ_BEFORE_STEP)]

    def _write(self, task: Any, arrays: list[NDArray[Any]]) -> None:
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco.mj_setState(task.model, task.data, arrays[0], kind)
        for name, value in zip(READ_BEFORE_STEP, arrays[1:], strict=True):
            getattr(task.data, name)[...] = value
