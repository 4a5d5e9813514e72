"""The adapter between gymnasium environments and the rest of the package."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from mbrl_cli.envs.known_functions import known_function
from mbrl_cli.envs.pixels import Pixels
from mbrl_cli.envs.simulators.builtin import builtin_simulator
from mbrl_cli.envs.simulators.user import user_simulator
from mbrl_cli.envs.spaces import ActionCodec, check_spaces, flatten_obs, obs_integer
from mbrl_cli.envs.time_limit import time_limit
from mbrl_cli.errors import EnvironmentFault
from mbrl_cli.types import EnvSpec

_Result = TypeVar("_Result")


class Env:
    """Adapter around a gymnasium environment; not itself a `gymnasium.Env`.

    Observations are flat float32 vectors [O], actions are encoded vectors [A] (see `ActionSpec`),
    and `terminated` and `truncated` stay separate. If the environment raises an exception, does not
    return within `timeout` seconds (None: no limit) or returns an invalid value, `reset` and `step`
    raise `EnvironmentFault`.
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
        self._codec = ActionCodec(gym_env.action_space)
        action_spec = self._codec.spec
        if simulator == "auto":
            loaded_simulator = builtin_simulator(gym_env)
        else:
            loaded_simulator = user_simulator(simulator, gym_env, len(integer), action_spec.dim)
        known = partial(
            known_function,
            env_id=env_id,
            obs_dim=len(integer),
            codec=self._codec,
            simulator=loaded_simulator,
        )
        shape: Any = gym_env.observation_space.shape
        self.spec = EnvSpec(
            id=env_id,
            obs_dim=len(integer),
            obs_integer=integer,
            action=action_spec,
            max_episode_steps=_max_episode_steps(gym_env),
            known_reward=known("reward", reward),
            known_termination=known("termination", termination),
            simulator=loaded_simulator,
            obs_shape=shape if isinstance(gym_env, Pixels) else None,
        )

    def reset(self, seed: int | None) -> NDArray[np.float32]:
        """Start an episode and return its first obs [O].

        If `seed` is None, the environment's random generator is not reseeded.
        """

        def reset() -> NDArray[np.float32]:
            obs, _ = self.gym.reset(seed=seed)
            return self._flatten(obs)

        return self._guard("reset", reset)

    def step(self, action: NDArray[Any]) -> tuple[NDArray[np.float32], float, bool, bool]:
        """Take one encoded action [A] and return obs [O], reward, terminated, truncated."""

        def step() -> tuple[NDArray[np.float32], float, bool, bool]:
            obs, reward, terminated, truncated, _ = self.gym.step(self._codec.to_env(action))
            reward = float(reward)
            if not math.isfinite(reward):
                raise ValueError(f"the reward is {reward}")
            return self._flatten(obs), reward, bool(terminated), bool(truncated)

        return self._guard("step", step)

    def reseed(self, seed: int) -> None:
        """Reseed the environment's random generator in the middle of an episode."""
        self.gym.unwrapped.np_random = np.random.default_rng(seed)

    def close(self) -> None:
        """Free the environment's resources, such as windows."""
        self.gym.close()

    def _guard(self, name: str, call: Callable[[], _Result]) -> _Result:
        """Return `call()`; turn its exceptions, and a time-out, into EnvironmentFault."""
        try:
            with time_limit(self.timeout):
                return call()
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise EnvironmentFault(
                f"env.id={self.spec.id}: {name} failed ({type(error).__name__}: {reason})"
            ) from error

    def _flatten(self, obs: Any) -> NDArray[np.float32]:
        flat = flatten_obs(self.gym.observation_space, obs)
        if flat.shape != (self.spec.obs_dim,):
            raise ValueError(
                f"an observation has {flat.size} entries, "
                f"its observation_space says {self.spec.obs_dim}"
            )
        if not np.isfinite(flat).all():
            raise ValueError(f"an observation is not finite: {flat.tolist()}")
        return flat


def _max_episode_steps(gym_env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the smallest limit of the registration, the TimeLimit wrappers and the env itself."""
    limits = [
        gym_env.spec.max_episode_steps if gym_env.spec else None,
        getattr(gym_env.unwrapped, "max_episode_steps", None),
    ]
    layer = gym_env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit):
            limits.append(layer._max_episode_steps)
        layer = layer.env
    return min((limit for limit in limits if isinstance(limit, int)), default=None)
