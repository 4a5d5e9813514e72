"""Measure in fresh environments when one changed action changes observation and reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.types import ActionSpec

PROBES = 12
STEPS_AFTER = 40  # steps in which an effect of the changed action is looked for

# obs [T, O], reward [T] of the steps after the reset
_Steps = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class ActionProbe:
    """Steps between a changed action and the first difference, one number for each probe.

    Attributes:
        reproducible: whether equal seeds and actions give equal observations.
        obs_lags: 0: the observation after this very action differs; -1: none differs.
        reward_lags: the same for the reward.
    """

    reproducible: bool
    obs_lags: NDArray[np.int64]
    reward_lags: NDArray[np.int64]

    @property
    def no_effect(self) -> bool:
        """Whether no changed action ever changed an observation or a reward."""
        lags = np.concatenate([self.obs_lags, self.reward_lags])
        return self.reproducible and len(lags) > 0 and bool((lags < 0).all())

    def delayed(self, lags: NDArray[np.int64]) -> bool:
        """Return whether the first difference comes one step late, and never at once."""
        seen = lags[lags >= 0]
        return self.reproducible and len(seen) >= 5 and bool(seen.min() == 1) and _often_one(seen)


def _often_one(lags: NDArray[np.int64]) -> bool:
    return float((lags == 1).mean()) >= 0.8


def probe_actions(new_env: Callable[[], Env], rng: np.random.Generator) -> ActionProbe:
    """Play pairs of episodes that differ in one action.

    Args:
        new_env: returns a fresh environment.
        rng: draws actions and reset seeds.
    """
    first, second = new_env(), new_env()
    obs_lags, reward_lags = [], []
    try:
        with restored_global_generators():
            for probe in range(PROBES):
                seed = int(rng.integers(2**31))
                changed = int(rng.integers(2, 8))
                actions = random_actions(first.spec.action, changed + STEPS_AFTER, rng)
                other = actions.copy()
                other[changed] = different_action(first.spec.action, actions[changed], rng)
                base = _play(first, seed, actions)
                if probe == 0 and not _equal(base, _play(second, seed, actions)):
                    nothing = np.zeros(0, np.int64)
                    return ActionProbe(False, nothing, nothing)
                variant = _play(second, seed, other)
                if min(len(base[1]), len(variant[1])) <= changed + 1:
                    continue  # an episode ended before the effect could be seen
                obs_lags.append(_lag(base[0], variant[0], changed))
                reward_lags.append(_lag(base[1][:, None], variant[1][:, None], changed))
    finally:
        first.close()
        second.close()
    return ActionProbe(True, np.array(obs_lags, np.int64), np.array(reward_lags, np.int64))


def random_actions(action: ActionSpec, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return uniformly random encoded actions [count, A]."""
    if action.kind == "continuous":
        return rng.uniform(-1.0, 1.0, (count, action.dim)).astype(np.float32)
    blocks = [np.eye(n, dtype=np.float32)[rng.integers(0, n, count)] for n in action.sizes]
    return np.concatenate(blocks, 1)


def different_action(
    action: ActionSpec, taken: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return an action [A] that differs from the one taken in every entry or part."""
    if action.kind == "continuous":
        return np.where(taken > 0.0, -1.0, 1.0).astype(np.float32)
    blocks, start = [], 0
    for size in action.sizes:
        chosen = int(taken[start : start + size].argmax())
        other = (chosen + int(rng.integers(1, size))) % size if size > 1 else chosen
        blocks.append(np.eye(size, dtype=np.float32)[other])
        start += size
    return np.concatenate(blocks)


def _play(env: Env, seed: int, actions: NDArray[np.float32]) -> _Steps:
    env.reset(seed)
    observations, rewards = [], []
    for action in actions:
        obs, reward, terminated, truncated = env.step(action)
        observations.append(obs.astype(np.float64))
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.stack(observations), np.array(rewards)


def _equal(left: _Steps, right: _Steps) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def _lag(base: NDArray[np.float64], variant: NDArray[np.float64], changed: int) -> int:
    """Return the steps from the changed action to the first difference; -1: there is none."""
    length = min(len(base), len(variant))
    differs = (base[changed:length] != variant[changed:length]).any(1)
    if differs.any():
        return int(differs.argmax())
    return length - changed if len(base) != len(variant) else -1
