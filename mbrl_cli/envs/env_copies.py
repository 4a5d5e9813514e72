"""Copies of an environment in the middle of an episode, for planning with the true dynamics.

A copy is right only if it holds the whole state, shares nothing with the original, and draws random
numbers of its own. `envs/copy_choice.py` tests this by stepping copies and the original alike.
"""

from __future__ import annotations

import copy
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import seed_global_generators
from mbrl_cli.envs.object_graph import find_objects
from mbrl_cli.seeding import child_seed

Outcome = tuple[NDArray[np.float32], float, bool, bool]  # as `Env.step` returns it
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)


class EnvState(NamedTuple):
    """State of an environment in the middle of an episode."""

    env: Env  # a copy that is never stepped, only copied
    generators: list[Any]  # those that `env` holds, besides `Env.np_random`
    arrays: list[NDArray[Any]]  # of a MuJoCo simulation


class EnvCopies(ABC):
    """Base class of the ways to copy an environment."""

    @abstractmethod
    def take(self, env: Env) -> EnvState:
        """Return the state of a live environment, which is not changed."""

    @abstractmethod
    def step(self, state: EnvState, action: NDArray[Any], seed: int) -> tuple[Outcome, EnvState]:
        """Take one encoded action [A] in a copy whose generators get `seed`; return its state."""

    def step_all(
        self, states: Sequence[EnvState], actions: NDArray[Any], seeds: Sequence[int]
    ) -> list[tuple[Outcome, EnvState]]:
        """Take the encoded actions [n, A] in copies of n states."""
        rows = zip(states, actions, seeds, strict=True)
        return [self.step(state, action, seed) for state, action, seed in rows]


class DeepCopies(EnvCopies):
    """Copies by `copy.deepcopy`."""

    def take(self, env: Env) -> EnvState:
        """Return the state of a live environment."""
        return EnvState(*self._copy(env, nested_generators(env)), [])

    def step(self, state: EnvState, action: NDArray[Any], seed: int) -> tuple[Outcome, EnvState]:
        """Take one action in a copy."""
        env, generators = self._copy(state.env, state.generators)
        reseed(env, generators, seed)
        return env.step(action), EnvState(env, generators, [])

    def _copy(self, env: Env, generators: list[Any]) -> tuple[Env, list[Any]]:
        return copy.deepcopy((env, generators), _shared_modules(env))


class AttributeCopies(DeepCopies):
    """Deep copies of the attributes, where `deepcopy` alone would build a new environment.

    `EzPickle` lets `deepcopy` call the constructor, so the state is lost.
    """

    def _copy(self, env: Env, generators: list[Any]) -> tuple[Env, list[Any]]:
        return copy_attributes(env, generators, {})


class MujocoCopies(EnvCopies):
    """Attributes are copied, the simulation's state is read and set by MuJoCo's own functions.

    All copies share one `MjData` of their own, into which a copy's state is loaded before it steps.
    Besides the state (`mjSTATE_INTEGRATION`) the arrays that MuJoCo computes from it are kept,
    because environments read them before they step.
    """

    def __init__(self) -> None:
        self._mujoco = sys.modules["mujoco"]
        self._scratch: dict[int, tuple[Any, Any]] = {}  # id(MjData) -> (it, the shared MjData)
        self._models: list[Any] = []

    def take(self, env: Env) -> EnvState:
        """Return the state of a live environment."""
        mujoco = self._mujoco
        datas = find_objects(env, (mujoco.MjData,))
        self._models = find_objects(env, (mujoco.MjModel,))
        memo: dict[int, Any] = {id(model): model for model in self._models}
        renderer = getattr(env.gym.unwrapped, "mujoco_renderer", None)
        if renderer is not None:  # it refers to the original's MjData; copies are never drawn
            memo[id(renderer)] = SimpleNamespace()
        arrays: list[NDArray[Any]] = []
        for data in datas:
            if id(data) not in self._scratch:
                self._scratch[id(data)] = (data, copy.copy(data))
            memo[id(data)] = self._scratch[id(data)][1]
            arrays += self._read(data)
        copied = copy_attributes(env, nested_generators(env), memo)
        return EnvState(*copied, arrays)

    def step(self, state: EnvState, action: NDArray[Any], seed: int) -> tuple[Outcome, EnvState]:
        """Take one action in a copy."""
        datas = find_objects(state.env, (self._mujoco.MjData,))
        memo = {id(item): item for item in [*self._models, *datas]}
        env, generators = copy_attributes(state.env, state.generators, memo)
        saved = iter(state.arrays)
        for data in datas:
            self._write(data, saved)
        reseed(env, generators, seed)
        outcome = env.step(action)
        arrays = [array for data in datas for array in self._read(data)]
        return outcome, EnvState(env, generators, arrays)

    def _read(self, data: Any) -> list[NDArray[Any]]:
        kind, model = self._mujoco.mjtState.mjSTATE_INTEGRATION, data.model
        state = np.empty(self._mujoco.mj_stateSize(model, kind))
        self._mujoco.mj_getState(model, data, state, kind)
        return [state, *(getattr(data, name).copy() for name in self._array_names(data))]

    def _write(self, data: Any, saved: Any) -> None:
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco.mj_setState(data.model, data, next(saved), kind)
        for name in self._array_names(data):
            array, value = getattr(data, name), next(saved)
            if array.shape == value.shape:  # other sizes depend on the contacts of a step
                array[...] = value

    def _array_names(self, data: Any) -> list[str]:
        """Return the arrays of `MjData` whose sizes do not depend on the contacts."""
        if not hasattr(self, "_names"):
            variable = ("_", "efc_", "iefc_", "contact", "island", "map_", "iM", "iLD", "iA")
            self._names = [
                name
                for name in dir(data)
                if not name.startswith(variable)
                and isinstance(getattr(data, name), np.ndarray)
                and getattr(data, name).flags.writeable
                and getattr(data, name).dtype.kind == "f"
            ]
        return self._names


def nested_generators(env: Env) -> list[Any]:
    """Return the generators that `env` holds, besides the one that `Env.reseed` replaces."""
    base = env.gym.unwrapped
    own = getattr(base, "_np_random", None)
    parts = {name: value for name, value in vars(base).items() if name != "_np_random"}
    held_by_a_part = any(found is own for found in find_objects(parts, _GENERATORS))
    return [g for g in find_objects(env, _GENERATORS) if held_by_a_part or g is not own]


def reseed(env: Env, generators: list[Any], seed: int) -> None:
    """Give the environment and the process random numbers that depend on `seed` alone."""
    env.reseed(seed)
    seed_global_generators(seed)
    for index, generator in enumerate(generators):
        own_seed = child_seed(seed, "generator", index)
        if isinstance(generator, np.random.Generator):
            bits = generator.bit_generator
            bits.state = type(bits)(own_seed).state
        elif isinstance(generator, torch.Generator):
            generator.manual_seed(own_seed)
        else:  # RandomState, random.Random
            generator.seed(own_seed)


def _shared_modules(env: Env) -> dict[int, Any]:
    """Return a memo for `copy.deepcopy`, which cannot copy the modules that an env refers to."""
    return {id(module): module for module in find_objects(env, (ModuleType,))}


def copy_attributes(env: Env, generators: list[Any], memo: dict[int, Any]) -> tuple[Env, list[Any]]:
    """Copy deeply without the constructors that EzPickle calls; `memo` as in `copy.deepcopy`."""
    memo |= _shared_modules(env)
    pickled = find_objects(env, (EzPickle,))
    shells = []
    for item in pickled:
        shell = object.__new__(type(item))
        memo[id(item)] = shell
        shells.append(shell)
    for item, shell in zip(pickled, shells, strict=True):
        vars(shell).update(copy.deepcopy(vars(item), memo))
    return copy.deepcopy((env, generators), memo)
