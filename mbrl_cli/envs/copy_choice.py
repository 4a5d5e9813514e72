"""Choose how an environment is copied, by comparing copies with the original."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.env_copies import (
    AttributeCopies,
    DeepCopies,
    EnvCopies,
    EnvState,
    MujocoCopies,
    Outcome,
    nested_generators,
    reseed,
)
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.envs.mujoco_states import MujocoStates
from mbrl_cli.envs.mujoco_tasks.choice import is_mujoco_task
from mbrl_cli.envs.object_graph import find_objects
from mbrl_cli.errors import EnvironmentFault, UserError
from mbrl_cli.seeding import child_seed

SEED = 0  # of the test
STEPS = 3  # before and after the copy is made


def choose_copies(env: Env) -> EnvCopies:
    """Return a way to copy this environment that passes the test; the environment is used up.

    Raises:
        UserError: if there is none.
    """
    ways: list[type[EnvCopies]] = [DeepCopies]
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and find_objects(env, (mujoco.MjData,)):
        ways.insert(0, MujocoCopies)  # a deep copy of dm_control's model takes 11 MB
        if is_mujoco_task(env.gym):
            ways.insert(0, MujocoStates)
    elif find_objects(env, (EzPickle,)):
        ways.append(AttributeCopies)
    reason: str | None = None
    with restored_global_generators():
        for way in ways:
            try:
                copies = way()
                reason = _fault(copies, env)
            except (EnvironmentFault, TypeError, RuntimeError, ValueError, AttributeError) as error:
                reason = f"cannot be copied ({' '.join(str(error).split())[:150]})"
            if reason is None:
                return copies
    raise UserError(
        f"model=oracle: {env.spec.id} {reason}; "
        "use a learned model: linear, mlp, ensemble, gaussian_ensemble"
    )


def _fault(copies: EnvCopies, env: Env) -> str | None:
    """Return what is wrong with the copies, or None.

    In each part the environment starts from the same state. Equal actions with equal seeds must
    then lead to equal outcomes.
    """
    rng = np.random.default_rng(SEED)
    before, checked, other = (_actions(env, rng) for _ in range(3))

    def start() -> None:
        env.reset(SEED)
        for action in before:
            _, _, terminated, truncated = env.step(action)
            if terminated or truncated:
                env.reset(SEED)

    def play(actions: list[NDArray[Any]]) -> list[Outcome]:
        """Step the original."""
        outcomes: list[Outcome] = []
        for i, action in enumerate(actions):
            reseed(env, nested_generators(env), child_seed(SEED, "copy", i))
            outcomes.append(env.step(action))
            if outcomes[-1][2] or outcomes[-1][3]:
                break
        return outcomes

    def imagine(state: EnvState, actions: list[NDArray[Any]]) -> list[Outcome]:
        """Step copies."""
        outcomes: list[Outcome] = []
        for i, action in enumerate(actions):
            outcome, state = copies.step(state, action, child_seed(SEED, "copy", i))
            outcomes.append(outcome)
            if outcome[2] or outcome[3]:
                break
        return outcomes

    start()
    expected = play(checked)
    start()
    if not _equal(play(checked), expected):
        return "does not repeat an episode under the same seed, so its copies cannot be tested"
    start()
    imagine(copies.take(env), other)
    if not _equal(play(checked), expected):
        return "shares its simulator with its copies: imagined steps move the real environment"
    start()
    state = copies.take(env)
    imagine(state, other)
    play(other)
    if not _equal(imagine(state, checked), expected):
        return "loses its state when it is copied"
    return None


def _actions(env: Env, rng: np.random.Generator) -> list[NDArray[Any]]:
    """Return random encoded actions."""
    action = env.spec.action
    if action.kind == "continuous":
        return [rng.uniform(-1, 1, action.dim).astype(np.float32) for _ in range(STEPS)]
    return [
        np.concatenate([np.eye(n, dtype=np.float32)[rng.integers(n)] for n in action.sizes])
        for _ in range(STEPS)
    ]


def _equal(outcomes: list[Outcome], expected: list[Outcome]) -> bool:
    return len(outcomes) == len(expected) and all(
        np.array_equal(a[0], b[0]) and a[1:] == b[1:]
        for a, b in zip(outcomes, expected, strict=True)
    )
