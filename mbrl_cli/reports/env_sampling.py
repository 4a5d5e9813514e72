"""Random steps in an environment: what it returns, and how its episodes end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from mbrl_cli.agents.random import random_actions
from mbrl_cli.envs.env import Env
from mbrl_cli.replay.buffer import ReplayBuffer

MAX_STEPS = 2000
MAX_SECONDS = 2.0
# The same for an environment without a known time limit, until its first episode ends.
MAX_SECONDS_WITHOUT_END = 6.0
# Steps that are taken even if both ends of episodes were seen before.
MIN_STEPS = 300
FURTHER_ROWS = 200  # of the replay, for the steps of the agent


class ReturnCheck(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes where values differ from gymnasium's interface, although training accepts them.

    Attributes:
        notes: one line for each kind of difference.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.notes: dict[str, str] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._look("reset", obs, info)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        result: tuple[Any, Any, Any, Any, Any] = self.env.step(action)
        obs, reward, terminated, truncated, info = result
        self._look("step", obs, info)
        if np.ndim(reward) > 0:
            kind = type(reward).__name__
            self._note("reward", f"step returns a reward of type {kind}; its entry is used")
        for name, value in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(value, bool | np.bool_):
                kind = type(value).__name__
                self._note(name, f"step returns {name} of type {kind}; it is used as a bool")
        return result

    def _look(self, method: str, obs: Any, info: Any) -> None:
        if not isinstance(info, Mapping):
            kind = type(info).__name__
            self._note("info", f"{method} returns an info of type {kind}; it should be a dict")
        if "obs" not in self.notes and not self.observation_space.contains(obs):
            difference = _difference(self.observation_space, obs, "")
            if difference:
                self._note("obs", f"{method}: {difference}; the value is used as it is")

    def _note(self, key: str, text: str) -> None:
        self.notes.setdefault(key, text)


class Sampling:
    """Random steps in an environment.

    Attributes:
        replay: the transitions.
        lengths: of the episodes that ended.
        num_terminated: episodes that ended because the task did.
        num_truncated: episodes that the environment or its time limit cut.
        longest_truncated: steps of the longest of these; 0 if there is none.
        same_length: whether every termination came after the same number of steps.
        step_seconds: mean duration of a step.
    """

    def __init__(self, env: Env, seed: int, holdout_ratio: float) -> None:
        """Sample until both ends were seen, `MAX_STEPS` or `MAX_SECONDS`.

        Raises:
            EnvironmentFault: if the environment fails.
        """
        spec = env.spec
        self.replay = ReplayBuffer(
            MAX_STEPS + FURTHER_ROWS,
            spec.obs_dim,
            spec.action.dim,
            holdout_ratio,
            images=spec.obs_shape is not None,
        )
        self.lengths: list[int] = []
        self.num_terminated = self.num_truncated = self.longest_truncated = 0
        self._env_seconds = 0.0
        generator = torch.Generator().manual_seed(seed)
        start, length, done = time.monotonic(), 0, False
        obs = env.reset(seed)
        while not done:
            action = random_actions(spec.action, 1, generator)[0]
            before = time.monotonic()
            next_obs, reward, terminated, truncated = env.step(action)
            now = time.monotonic()
            self._env_seconds += now - before
            length += 1
            seconds = MAX_SECONDS if env.has_limit or self.lengths else MAX_SECONDS_WITHOUT_END
            done = self._steps() + 1 >= MAX_STEPS or now - start >= seconds
            # The agent continues with an episode of its own, so the last one is cut.
            is_cut = truncated or (done and not terminated)
            self.replay.add(obs, action, reward, next_obs, terminated, is_cut)
            obs = next_obs
            if terminated or truncated:
                self.num_terminated += terminated
                self.num_truncated += not terminated
                if not terminated:
                    self.longest_truncated = max(self.longest_truncated, length)
                self.lengths.append(length)
                length = 0
                seen_both = self.num_terminated > 0 and self.num_truncated > 0
                done = done or (seen_both and self._steps() >= MIN_STEPS)
                if not done:
                    obs = env.reset(seed + len(self.lengths))

    @property
    def step_seconds(self) -> float:
        """Return the mean duration of a step of the environment."""
        return self._env_seconds / self._steps()

    @property
    def same_length(self) -> bool:
        """Return whether all of at least three episodes terminated after the same steps."""
        is_all = self.num_truncated == 0 and self.num_terminated >= 3
        return is_all and len(set(self.lengths)) == 1 and self.lengths[0] > 1

    def _steps(self) -> int:
        return self.replay.total_added


def _difference(space: gymnasium.Space[Any], obs: Any, name: str) -> str:
    """Return how an observation differs from its space, or '' where only its type does."""
    if isinstance(space, spaces.Dict) and isinstance(obs, Mapping):
        parts = [(part, obs.get(key), f"{name}.{key}") for key, part in space.spaces.items()]
        return next(filter(None, (_difference(*part) for part in parts)), "")
    if isinstance(space, spaces.Tuple) and isinstance(obs, tuple | list):
        pairs = enumerate(zip(space.spaces, obs, strict=False))
        found = (_difference(part, value, f"{name}[{i}]") for i, (part, value) in pairs)
        return next(filter(None, found), "")
    if not isinstance(space, spaces.Box) or space.contains(obs):
        return ""
    where = f"observation{name}" if name.startswith("[") or not name else f"observation {name[1:]}"
    if not isinstance(obs, np.ndarray):
        return f"{where} is of type {type(obs).__name__}; it should be an array"
    if obs.shape != space.shape:
        return f"{where} has the shape {list(obs.shape)}; the space says {list(space.shape)}"
    if not np.can_cast(obs.dtype, space.dtype):
        return f"{where} has the dtype {obs.dtype}; the space says {space.dtype}"
    outside = (obs < space.low) | (obs > space.high)
    if not outside.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(outside)[0])
    value, low, high = obs[index], space.low[index], space.high[index]
    entry = ", ".join(map(str, index))
    return f"{where}[{entry}] is {value:.6g}, outside of its bounds [{low:.6g}, {high:.6g}]"
