"""Gymnasium wrappers that make an environment, or its data, wrong in one known way each."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class LateAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Execute each action one step late; the first action of an episode is random."""

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        if kwargs.get("seed") is not None:
            self.env.action_space.seed(kwargs["seed"])
        self.waiting = self.env.action_space.sample()
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Take the previous action."""
        executed, self.waiting = self.waiting, action
        return self.env.step(executed)


class LateObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Return each observation one step late."""

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        obs, info = self.env.reset(**kwargs)
        self.waiting = obs
        return obs, info

    def step(self, action: Any) -> Any:
        """Take a step and return the observation before it."""
        obs, *rest = self.env.step(action)
        late, self.waiting = self.waiting, obs
        return late, *rest


class LimitAsTermination(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Report the time limit as a termination, as environments of Gym before 0.26 did.

    `limit`: a limit of its own, in steps; None: the environment's.
    """

    def __init__(self, env: Any, limit: int | None = None):
        super().__init__(env)
        self.limit = limit

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        self.steps = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Take a step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        over = truncated or (self.limit is not None and self.steps >= self.limit)
        return obs, reward, terminated or over, False, info


class ResetObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Reset at the end of an episode, and return the new episode's observation with the end."""

    def step(self, action: Any) -> Any:
        """Take a step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            obs, _ = self.env.reset()
        return obs, reward, terminated, truncated, info


class HiddenResets(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Reset at the end of an episode without reporting the end, up to `limit` steps."""

    def __init__(self, env: Any, limit: int = 500):
        super().__init__(env)
        self.limit = limit

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        self.steps = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Take a step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        if terminated or truncated:
            obs, _ = self.env.reset()
        return obs, reward, False, self.steps >= self.limit, info


class ClockReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Add a bonus to the reward that follows a clock: a sine with a period of 20 steps."""

    def __init__(self, env: Any, scale: float = 1.0, period: float = 20.0):
        super().__init__(env)
        self.scale, self.period = scale, period

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        self.steps = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Take a step."""
        obs, reward, *rest = self.env.step(action)
        self.steps += 1
        bonus = self.scale * math.sin(2.0 * math.pi * self.steps / self.period)
        return obs, float(reward) + bonus, *rest


class HiddenGoalReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Add a bonus that is drawn at each reset, stays for the episode and is not observed."""

    def __init__(self, env: Any, scale: float = 1.0):
        super().__init__(env)
        self.scale = scale
        self.rng = np.random.default_rng(0)

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        if kwargs.get("seed") is not None:
            self.rng = np.random.default_rng(kwargs["seed"])
        self.bonus = self.scale * self.rng.normal()
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Take a step."""
        obs, reward, *rest = self.env.step(action)
        return obs, float(reward) + self.bonus, *rest


class IgnoredAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Replace each action by one that depends on the step alone."""

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        if kwargs.get("seed") is not None:
            self.env.action_space.seed(kwargs["seed"])
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Take a step with a random action."""
        return self.env.step(self.env.action_space.sample())


class IgnoredEntry(gymnasium.ActionWrapper[Any, Any, Any]):
    """Replace the first entry of each action by 0."""

    def action(self, action: Any) -> Any:
        """Return the action without its first entry."""
        return np.where(np.arange(len(action)) == 0, 0.0, action).astype(np.float32)


class ClippedObservation(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Clip each entry to [-`bound`, `bound`]."""

    def __init__(self, env: Any, bound: float):
        super().__init__(env)
        self.bound = bound

    def observation(self, obs: Any) -> Any:
        """Return the clipped observation."""
        return np.clip(obs, -self.bound, self.bound)


class DuplicatedEntry(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Replace the last entry of each observation by the first one."""

    def observation(self, obs: Any) -> Any:
        """Return the changed observation."""
        return np.append(obs[:-1], obs[0]).astype(obs.dtype)


class ConstantEntry(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Replace the last entry of each observation by 0."""

    def observation(self, obs: Any) -> Any:
        """Return the changed observation."""
        return np.append(obs[:-1], 0.0).astype(obs.dtype)


class ChangesAfter(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Change the environment after a number of steps: gravity, or another attribute.

    `factor` multiplies the attribute. `reward_bonus` is added to the reward instead, if it is
    given.
    """

    def __init__(
        self,
        env: Any,
        after: int,
        attribute: str = "",
        factor: float = 1.0,
        reward_bonus: float = 0.0,
    ):
        super().__init__(env)
        self.after, self.attribute, self.factor = after, attribute, factor
        self.reward_bonus = reward_bonus
        self.total = 0

    def step(self, action: Any) -> Any:
        """Take a step."""
        self.total += 1
        if self.total == self.after and self.attribute:
            self.change()
        obs, reward, *rest = self.env.step(action)
        late = self.total >= self.after
        return obs, float(reward) + self.reward_bonus * late, *rest

    def change(self) -> None:
        """Multiply the attribute."""
        inner = self.env.unwrapped
        if self.attribute == "gravity" and hasattr(inner, "model"):
            inner.model.opt.gravity[2] *= self.factor
            return
        name = "g" if self.attribute == "gravity" and hasattr(inner, "g") else self.attribute
        setattr(inner, name, getattr(inner, name) * self.factor)


class StackedObservation(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Append the previous observation; correct data."""

    def __init__(self, env: Any):
        super().__init__(env)
        space = env.observation_space
        low, high = np.tile(space.low, 2), np.tile(space.high, 2)
        self.observation_space = spaces.Box(low, high, dtype=space.dtype)

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        obs, info = self.env.reset(**kwargs)
        self.previous = obs
        return np.concatenate([obs, obs]), info

    def observation(self, obs: Any) -> Any:
        """Return the observation and the one before it."""
        stacked = np.concatenate([obs, self.previous])
        self.previous = obs
        return stacked
