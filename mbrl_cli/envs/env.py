"""The one door to the real environment: flat float32 observations in, encoded actions out."""

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
from mbrl_cli.envs.simulators.lookup import simulator_for
from mbrl_cli.envs.spaces import ActionCodec, check_spaces, flatten_obs, obs_integer
from mbrl_cli.envs.time_limit import time_limit
from mbrl_cli.errors import EnvironmentFault
from mbrl_cli.types import EnvSpec

_Result = TypeVar("_Result")


class Env:
    """Adapter around a gymnasium environment; it is no `gymnasium.Env` itself.

    Observations leave as float32 [O], actions enter encoded [A] (see `ActionSpec`), and
    `terminated` and `truncated` stay apart. Whatever an environment may do wrong (raise, hang for
    `timeout` seconds, return what is no number) leaves here as an `EnvironmentFault`.
    """

    timeout: float | None = None

    def __init__(
        self,
        gym_env: gymnasium.Env[Any, Any],
        reward: str = "learned",
        termination: str = "learned",
    ):
        """Wrap `gym_env`; `reward` and `termination` are explained in `make_env`."""
        self.gym = gym_env
        env_id = gym_env.spec.id if gym_env.spec else type(gym_env.unwrapped).__name__
        check_spaces(env_id, gym_env.observation_space, gym_env.action_space)
        whole = obs_integer(gym_env.observation_space)
        self._codec = ActionCodec(gym_env.action_space)
        simulator = simulator_for(gym_env)
        known = partial(
            known_function,
            env_id=env_id,
            obs_dim=len(whole),
            codec=self._codec,
            simulator=simulator,
        )
        shape: Any = gym_env.observation_space.shape
        self.spec = EnvSpec(
            id=env_id,
            obs_dim=len(whole),
            obs_integer=whole,
            action=self._codec.spec,
            max_episode_steps=_time_limit(gym_env),
            known_reward=known("reward", reward),
            known_termination=known("termination", termination),
            simulator=simulator,
            obs_shape=shape if isinstance(gym_env, Pixels) else None,
        )

    def reset(self, seed: int | None) -> NDArray[np.float32]:
        """Start an episode and return its first obs [O]; None goes on with the env's own RNG."""

        def reset() -> NDArray[np.float32]:
            obs, _ = self.gym.reset(seed=seed)
            return self._flat(obs)

        return self._guarded("reset", reset)

    def step(self, action: NDArray[Any]) -> tuple[NDArray[np.float32], float, bool, bool]:
        """Take one encoded action [A] and return obs [O], reward, terminated, truncated."""

        def step() -> tuple[NDArray[np.float32], float, bool, bool]:
            obs, reward, terminated, truncated, _ = self.gym.step(self._codec.to_env(action))
            reward = float(reward)
            if not math.isfinite(reward):
                raise ValueError(f"the reward is {reward}")
            return self._flat(obs), reward, bool(terminated), bool(truncated)

        return self._guarded("step", step)

    def reseed(self, seed: int) -> None:
        """Let chance go on from `seed`, in the middle of an episode."""
        self.gym.unwrapped.np_random = np.random.default_rng(seed)

    def close(self) -> None:
        """Free what the environment holds (windows, simulators)."""
        self.gym.close()

    def _guarded(self, what: str, call: Callable[[], _Result]) -> _Result:
        try:
            with time_limit(self.timeout):
                return call()
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise EnvironmentFault(
                f"env.id={self.spec.id}: {what} failed ({type(error).__name__}: {reason})"
            ) from error

    def _flat(self, obs: Any) -> NDArray[np.float32]:
        flat = flatten_obs(self.gym.observation_space, obs)
        if flat.shape != (self.spec.obs_dim,):
            raise ValueError(
                f"an observation has {flat.size} entries, "
                f"its observation_space says {self.spec.obs_dim}"
            )
        if not np.isfinite(flat).all():
            raise ValueError(f"an observation is not finite: {flat.tolist()}")
        return flat


def _time_limit(gym_env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the tightest of all limits: the registered one, each TimeLimit, the env's own."""
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
