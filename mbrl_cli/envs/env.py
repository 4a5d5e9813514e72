"""The adapter between gymnasium environments and the rest of the package."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.envs.checked_values import flag, flatten_obs, scalar_reward
from mbrl_cli.envs.described_error import described_error
from mbrl_cli.envs.global_random import seed_global_generators
from mbrl_cli.envs.image_observation import ImageObservation
from mbrl_cli.envs.known_functions import known_function
from mbrl_cli.envs.mujoco_tasks.choice import mujoco_functions
from mbrl_cli.envs.pixels import Pixels
from mbrl_cli.envs.simulators.builtin import builtin_simulator
from mbrl_cli.envs.simulators.user import user_simulator
from mbrl_cli.envs.spaces import ActionCodec, check_spaces, obs_integer
from mbrl_cli.envs.time_limit import time_limit
from mbrl_cli.errors import EnvironmentFault
from mbrl_cli.signals import reraise_stop
from mbrl_cli.types import EnvSpec

_Result = TypeVar("_Result")

# Steps after which an episode is truncated if the environment has no known time limit.
STEPS_WITHOUT_LIMIT = 1000
# Attributes in which environments that truncate their episodes themselves keep the limit.
_OWN_LIMITS = ("max_episode_steps", "_max_episode_steps", "max_steps", "_max_steps")


class Env:
    """Adapter around a gymnasium environment; not itself a `gymnasium.Env`.

    Observations are flat float32 vectors [O], actions are encoded vectors [A] (see `ActionSpec`),
    and `terminated` and `truncated` stay separate. If the environment raises an exception, exits,
    does not return within `timeout` seconds (None: no limit) or returns an invalid value, `reset`
    and `step` raise `EnvironmentFault`.

    An episode of an environment without a known time limit is truncated after 1,000 steps.

    Attributes:
        gym: the gymnasium environment.
        spec: sizes, action encoding and known functions.
        codec: converts between encoded actions and the environment's own.
        has_limit: whether the environment is known to truncate its episodes.
        num_cut: number of episodes that were truncated for this reason.
        has_action_mask: whether `info` holds action masks, which are ignored.
    """

    timeout: float | None = None

    def __init__(
        self,
        gym_env: gymnasium.Env[Any, Any],
        reward: str = "learned",
        termination: str = "learned",
        simulator: str = "auto",
    ):
        """Wrap `gym_env`; `make_env` explains the other arguments."""
        self.gym = gym_env
        env_id = gym_env.spec.id if gym_env.spec else type(gym_env.unwrapped).__name__
        check_spaces(env_id, gym_env.observation_space, gym_env.action_space)
        integer = obs_integer(gym_env.observation_space)
        self.codec = ActionCodec(gym_env.action_space)
        action_spec = self.codec.spec
        if simulator == "auto":
            loaded_simulator = builtin_simulator(gym_env)
        else:
            loaded_simulator = user_simulator(simulator, gym_env, len(integer), action_spec.dim)
        choices = {"reward": reward, "termination": termination}
        asked = [role for role, choice in choices.items() if choice == "known"]
        task = mujoco_functions(gym_env, self.codec) if asked and not loaded_simulator else None
        notes = task.notes if task else ()
        self._notes = {role: note for role, note in notes if role in asked}
        known = partial(
            known_function,
            env_id=env_id,
            obs_dim=len(integer),
            codec=self.codec,
            simulator=loaded_simulator,
            task=task,
        )
        self.has_limit = _has_limit(gym_env)
        self._steps = 0  # of the current episode
        self.num_cut = 0
        self.has_action_mask = False
        shape: Any = gym_env.observation_space.shape
        self.spec = EnvSpec(
            id=env_id,
            obs_dim=len(integer),
            obs_integer=integer,
            action=action_spec,
            max_episode_steps=_max_episode_steps(gym_env),
            known_reward=known("reward", reward),
            known_termination=known("termination", termination),
            approximate=tuple(self._notes),
            simulator=loaded_simulator,
            obs_shape=shape if isinstance(gym_env, Pixels | ImageObservation) else None,
        )

    def reset(self, seed: int | None) -> NDArray[np.float32]:
        """Start an episode and return its first obs [O].

        `seed` also seeds the process's global generators, from which some environments draw. If it
        is None, no random generator is reseeded.
        """

        def reset() -> NDArray[np.float32]:
            obs, info = self.gym.reset(seed=seed)
            self.has_action_mask |= isinstance(info, Mapping) and "action_mask" in info
            return self._flatten(obs)

        self._steps = 0
        if seed is not None:
            seed_global_generators(seed)
        return self._guard("reset", reset)

    def step(self, action: NDArray[Any]) -> tuple[NDArray[np.float32], float, bool, bool]:
        """Take one encoded action [A] and return obs [O], reward, terminated, truncated."""

        def step() -> tuple[NDArray[np.float32], float, bool, bool]:
            obs, reward, terminated, truncated, _ = self.gym.step(self.codec.to_env(action))
            return (
                self._flatten(obs),
                scalar_reward(reward),
                flag("terminated", terminated),
                flag("truncated", truncated),
            )

        obs, reward, terminated, truncated = self._guard("step", step)
        self._steps += 1
        over = not self.has_limit and self._steps >= STEPS_WITHOUT_LIMIT
        if over and not terminated and not truncated:
            truncated = True
            self.num_cut += 1
        return obs, reward, terminated, truncated

    def render(self) -> NDArray[np.uint8]:
        """Return the image [height, width, 3] of the present state; needs `rgb_array`."""

        def render() -> NDArray[np.uint8]:
            image = np.asarray(self.gym.render())
            if image.ndim != 3 or image.shape[-1] != 3:
                raise ValueError(
                    f"an image has the shape {list(image.shape)}; must be [height, width, 3]"
                )
            return image.astype(np.uint8)

        return self._guard("render", render)

    def reseed(self, seed: int) -> None:
        """Reseed the environment's random generator in the middle of an episode."""
        self.gym.unwrapped.np_random = np.random.default_rng(seed)

    def notices(self) -> list[str]:
        """Return one line for each property of the environment that a user should know."""
        lines = []
        if self.num_cut:
            lines.append(
                f"has no time limit, so its episodes are cut after {STEPS_WITHOUT_LIMIT:,} steps; "
                "to change this: env.max_episode_steps=N"
            )
        if self.has_action_mask:
            lines.append("returns action masks in info; they are ignored")
        if self.codec.num_unbounded:
            lines.append(
                f"{self.codec.num_unbounded} of {self.spec.action.dim} action entries lack a "
                "bound, so they are not scaled: without bounds they get [-1, 1], with one bound "
                "the interval of length 2 at it; if they need more, give the action space bounds"
            )
        if _is_sparse_goal_env(self.gym):
            lines.append(
                "is a goal environment with sparse rewards: random steps may never reach a goal; "
                "env.kwargs.reward_type=dense, where it has this argument, gives dense rewards"
            )
        lines += [f"env.{role}=known {note}" for role, note in self._notes.items()]
        return [f"env.id={self.spec.id}: {line}" for line in lines]

    def close(self) -> str | None:
        """Free the environment's resources, such as windows; return the reason if this fails."""
        try:
            self.gym.close()
        except BaseException as error:  # SystemExit too; the run has its result already
            reraise_stop(error)
            return f"env.id={self.spec.id}: close failed ({described_error(error)})"
        return None

    def _guard(self, name: str, call: Callable[[], _Result]) -> _Result:
        """Return `call()`; turn its exceptions, a time-out and an exit into EnvironmentFault."""
        try:
            with time_limit(self.timeout):
                return call()
        except BaseException as error:
            reraise_stop(error)
            raise EnvironmentFault(
                f"env.id={self.spec.id}: {name} failed ({described_error(error)})"
            ) from error

    def _flatten(self, obs: Any) -> NDArray[np.float32]:
        flat = flatten_obs(self.gym.observation_space, obs)
        if not np.isfinite(flat).all():
            raise ValueError(f"an observation is not finite: {flat.tolist()}")
        return flat


def _has_limit(gym_env: gymnasium.Env[Any, Any]) -> bool:
    """Return whether the environment is known to truncate its episodes."""
    if _max_episode_steps(gym_env) is not None:
        return True
    spec_kwargs = gym_env.spec.kwargs if gym_env.spec else {}
    if "max_num_frames_per_episode" in spec_kwargs:  # Atari
        return True
    return any(isinstance(getattr(gym_env.unwrapped, name, None), int) for name in _OWN_LIMITS)


def _is_sparse_goal_env(gym_env: gymnasium.Env[Any, Any]) -> bool:
    space, env = gym_env.observation_space, gym_env.unwrapped
    keys = {"observation", "achieved_goal", "desired_goal"}
    is_goal_env = isinstance(space, spaces.Dict) and keys <= space.spaces.keys()
    holders = (env, getattr(env, "task", None))  # panda-gym keeps it in the task
    return is_goal_env and any(getattr(item, "reward_type", "") == "sparse" for item in holders)


def _max_episode_steps(gym_env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the smallest known limit in steps of the outermost environment, which repeat actions.

    Limits are those of the registration, the TimeLimit wrappers and the environment itself.
    """
    limits: list[float] = []
    repeats = 1  # steps that a layer takes for one step of the outermost environment
    layer = gym_env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, ActionRepeat):
            repeats *= layer.times
        if isinstance(layer, TimeLimit):
            limits.append(layer._max_episode_steps / repeats)
        layer = layer.env
    own = (
        gym_env.spec.max_episode_steps if gym_env.spec else None,
        getattr(layer, "max_episode_steps", None),
        getattr(getattr(layer, "_env", None), "_step_limit", None),  # DeepMind Control
    )
    limits += [limit / repeats for limit in own if isinstance(limit, int | float)]
    smallest = min(limits, default=math.inf)
    return math.ceil(smallest) if math.isfinite(smallest) else None
