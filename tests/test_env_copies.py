"""Copies of environments, in which `model=oracle` imagines."""

import math
import types

import numpy as np
import pytest
from gymnasium.utils import EzPickle
from toy_env import Toy

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.env_copies import AttributeCopies, DeepCopies, choose_copies
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.object_graph import find_objects
from mbrl_cli.errors import UserError


class Pickled(Toy, EzPickle):
    """Its `deepcopy` is a new environment."""

    def __init__(self):
        Toy.__init__(self)
        EzPickle.__init__(self)


WORLDS = {}


class Shared(Toy):
    """Its state is in a table that copies share."""

    def __init__(self):
        super().__init__()
        WORLDS[id(self)] = 0
        self.handle = id(self)

    def reset(self, *, seed=None, options=None):
        WORLDS[self.handle] = 0
        return super().reset(seed=seed)

    def step(self, action):
        WORLDS[self.handle] += 1 + int(action)
        return super().step(action)

    def _obs(self):
        return np.array([WORLDS[self.handle]], np.float32)


class Nested(Toy):
    """Draws from a generator of a part of its own."""

    def reset(self, *, seed=None, options=None):
        self.part = types.SimpleNamespace(rng=np.random.default_rng(seed))
        return super().reset(seed=seed)

    def step(self, action):
        result = super().step(action)
        return np.array([self.part.rng.random()], np.float32), *result[1:]


def test_copies_of_an_ezpickle_environment_keep_its_state():
    assert type(choose_copies(Env(Toy()))) is DeepCopies
    env = Env(Pickled())
    copies = choose_copies(env)
    assert type(copies) is AttributeCopies
    action = np.array([1.0, 0.0], np.float32)
    env.reset(0)
    env.step(action)
    outcome, state = copies.step(copies.take(env), action, seed=0)
    assert outcome[0].tolist() == [2.0]
    assert copies.step(state, action, seed=0)[0][0].tolist() == [3.0]
    assert env.step(action)[0].tolist() == [2.0]


def test_an_environment_that_holds_a_module_is_copied():
    env = Env(Toy())
    env.gym.library = math
    state = choose_copies(env).take(env)
    assert state.env.gym.library is math
    assert find_objects(env, (types.ModuleType,)) == [math]  # and not what the module holds


def test_copies_that_share_a_simulator_are_refused():
    with pytest.raises(UserError, match="model=oracle: Shared shares its simulator"):
        choose_copies(Env(Shared()))


def test_a_copy_does_not_know_the_outcomes_of_a_nested_generator():
    env = Env(Nested())
    copies = choose_copies(env)
    action = np.array([1.0, 0.0], np.float32)
    env.reset(0)
    state = copies.take(env)
    imagined = [copies.step(state, action, seed)[0][0].item() for seed in (1, 1, 2)]
    assert imagined[0] == imagined[1] != imagined[2]
    assert env.step(action)[0].item() not in imagined


@pytest.mark.parametrize("id", ["Reacher-v5", "Hopper-v5"])
def test_copies_of_mujoco_environments_step_as_the_original(id):
    pytest.importorskip("mujoco")
    env = make_env(id)
    copies = choose_copies(env)
    assert type(copies).__name__ == "MujocoCopies"
    action = np.full(env.spec.action.dim, 0.3, np.float32)
    env.reset(1)
    env.step(action)
    state = copies.take(env)
    first, after = copies.step(state, action, seed=0)
    second, _ = copies.step(after, -action, seed=0)
    for imagined, real in ((first, env.step(action)), (second, env.step(-action))):
        assert np.array_equal(imagined[0], real[0])
        assert imagined[1:] == real[1:]
