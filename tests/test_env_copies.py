"""Copies of environments, in which `model=oracle` imagines."""

import math
import types

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils import EzPickle
from toy_env import Toy

from mbrl_cli.envs.copy_choice import choose_copies
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.env_copies import AttributeCopies, DeepCopies
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


class Limping(gymnasium.Wrapper):
    """A wrapper with a state of its own, so that the whole environment must be copied."""


@pytest.mark.parametrize("id", ["Reacher-v5", "Hopper-v5"])
def test_copies_of_mujoco_environments_step_as_the_original(id):
    pytest.importorskip("mujoco")
    env = Env(Limping(gymnasium.make(id)))
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


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


MUJOCO = [
    ("HalfCheetah-v5", {}), ("Hopper-v5", {}), ("Walker2d-v5", {}), ("Ant-v5", {}),
    ("Swimmer-v5", {"action_repeat": 2}), ("Humanoid-v5", {}), ("HumanoidStandup-v5", {}),
    ("InvertedPendulum-v5", {}), ("InvertedDoublePendulum-v5", {}), ("Reacher-v5", {}),
    ("Pusher-v5", {}), ("HalfCheetah-v5", {"kwargs": {"frame_skip": 3}}),
    ("Hopper-v5", {"wrappers": ["mbrl_cli.envs.mujoco_tasks.forward_velocity.ForwardVelocity"]}),
]  # fmt: skip


@pytest.mark.parametrize(("id", "arguments"), MUJOCO)
def test_imagined_steps_of_mujoco_tasks_equal_real_ones_to_the_bit(id, arguments, two_threads):
    pytest.importorskip("mujoco")
    copies = choose_copies(make_env(id, **arguments))
    assert type(copies).__name__ == "MujocoStates"
    env = make_env(id, **arguments)  # another one than the scratch environment
    rng = np.random.default_rng(0)
    size = (12, 8, env.spec.action.dim)
    plans = rng.uniform(-1.2, 1.2, size).astype(np.float32)  # [N, H, A], also beyond the bounds
    env.reset(5)
    for action in plans[0]:
        env.step(action)
    states = [copies.take(env)] * len(plans)
    imagined = []
    for step in range(plans.shape[1]):
        results = copies.step_all(states, plans[:, step], [0] * len(plans))
        imagined.append([outcome for outcome, _ in results])
        states = [state for _, state in results]
    for row in (3, 10):  # the first and the second thread's
        env.reset(5)
        for action in plans[0]:
            env.step(action)
        for step, action in enumerate(plans[row]):
            obs, reward, terminated, _ = env.step(action)
            assert np.array_equal(imagined[step][row][0], obs)
            assert imagined[step][row][0].dtype == obs.dtype
            assert imagined[step][row][1:3] == (reward, terminated)
