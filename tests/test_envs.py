"""The environment adapter: conversion of spaces and actions, and refused arguments."""

import re
import sys
import types
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from mbrl_cli.envs.cartpole_continuous import CartPoleContinuous
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.spaces import ActionCodec
from mbrl_cli.errors import EnvironmentFault, UserError


class Fake(gymnasium.Env):
    """Always returns the same `obs`; records the last action."""

    def __init__(self, observation_space=None, action_space=None, obs=None):
        self.observation_space = observation_space or spaces.Box(-1, 1, (2,))
        self.action_space = action_space or spaces.Discrete(2)
        self.obs = np.zeros(2, np.float32) if obs is None else obs

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.obs, {}

    def step(self, action):
        self.action = action
        return self.obs, np.float64(0.5), np.True_, np.False_, {}


# space, observation, its flat vector, for each entry T if it is always an integer, else F
OBSERVATIONS = {
    "box": (spaces.Box(-1, 1, (2,)), np.array([0.5, -0.5]), [0.5, -0.5], "FF"),
    "box of rank 0": (spaces.Box(-1, 1, ()), np.array(0.5), [0.5], "F"),
    "image": (
        spaces.Box(0, 255, (1, 2, 1), np.uint8),
        np.array([[[7], [255]]], np.uint8),
        [7, 255],
        "TT",
    ),
    "discrete": (spaces.Discrete(3), 2, [0, 0, 1], "TTT"),
    "discrete from -1": (spaces.Discrete(3, start=-1), -1, [1, 0, 0], "TTT"),
    "multi-binary": (spaces.MultiBinary((2, 2)), np.array([[1, 0], [0, 1]]), [1, 0, 0, 1], "TTTT"),
    "multi-discrete": (spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0], "TTTTT"),
    "nested": (
        spaces.Dict(
            a=spaces.Tuple([spaces.Discrete(2), spaces.Box(-9, 9, (1,))]),
            b=spaces.Box(0, 9, (1,), np.int64),
        ),
        {"b": np.array([4]), "a": (1, np.array([-1.5]))},
        [0, 1, -1.5, 4],
        "TTFT",
    ),
}


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_become_flat_float32(name):
    space, obs, expected, integer = OBSERVATIONS[name]
    env = Env(Fake(observation_space=space, obs=obs))
    flat = env.reset(seed=0)
    assert flat.dtype == np.float32
    assert flat.tolist() == expected
    assert env.spec.obs_dim == len(expected)
    assert env.spec.obs_integer == tuple(letter == "T" for letter in integer)


def test_an_observation_is_a_copy():
    original = np.zeros(2, np.float32)
    env = Env(Fake(obs=original))
    flat = env.reset(seed=0)
    original[0] = 9.0
    assert flat[0] == 0.0


def test_an_observation_that_does_not_fit_its_space_is_refused():
    env = Env(Fake(obs=np.zeros(3)))
    with pytest.raises(UserError, match="observation has 3 entries, its observation_space says 2"):
        env.reset(seed=0)


def test_a_step_returns_terminated_and_truncated_separately():
    obs, reward, terminated, truncated = Env(Fake()).step(np.array([1.0, 0.0]))
    assert obs.tolist() == [0.0, 0.0]
    assert (reward, terminated, truncated) == (0.5, True, False)
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]


# space, encoded action, the action that the environment receives
ACTIONS = {
    "discrete": (spaces.Discrete(3), [0, 0, 1], 2),
    "discrete from -1": (spaces.Discrete(3, start=-1), [1, 0, 0], -1),
    "multi-discrete": (
        spaces.MultiDiscrete([[2, 3], [1, 2]]),
        [0, 1, 0, 0, 1, 1, 0, 1],
        [[1, 2], [0, 1]],
    ),
    "multi-discrete from 5": (spaces.MultiDiscrete([2, 2], start=[5, 0]), [0, 1, 1, 0], [6, 0]),
    "multi-binary": (spaces.MultiBinary(2), [0, 1, 1, 0], [1, 0]),
    "multi-binary of rank 2": (spaces.MultiBinary([1, 2]), [1, 0, 0, 1], [[0, 1]]),
    "box": (spaces.Box(-2, 4, (1, 2)), [-1, 0.5], [[-2, 2.5]]),
    "box of rank 0": (spaces.Box(0, 4, ()), [0.5], 3.0),
    "float64 box": (spaces.Box(0, 1, (1,), np.float64), [1], [1.0]),
    "clipped": (spaces.Box(-2, 4, (2,)), [-3, 7], [-2, 4]),
    "integer box": (spaces.Box(0, 10, (2,), np.int32), [0.5, -0.5], [8, 2]),
    "no bounds": (spaces.Box(-np.inf, np.inf, (1,)), [0.25], [0.25]),
    "float32's largest as no bound": (
        spaces.Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (1,)),
        [0.25],
        [0.25],
    ),
    "low bound": (spaces.Box(3, np.inf, (1,)), [-1], [3]),
    "high bound": (spaces.Box(-np.inf, 3, (1,)), [0.5], [2.5]),
}


@pytest.mark.filterwarnings("ignore:.*length of a multi-dimensional")
@pytest.mark.parametrize("name", ACTIONS)
def test_actions_reach_the_environment_in_its_own_units(name):
    space, encoded, expected = ACTIONS[name]
    env = Env(Fake(action_space=space))
    env.step(np.array(encoded, np.float32))
    assert space.contains(env.gym.action)
    assert np.asarray(env.gym.action).tolist() == expected
    assert env.spec.action.dim == len(encoded)


def test_one_hot_codes_and_actions_correspond_one_to_one():
    codec = ActionCodec(spaces.MultiDiscrete([2, 3], start=[0, 7]))
    assert codec.spec.sizes == (2, 3)
    encoded = torch.stack([torch.cat([a, b]) for a in torch.eye(2) for b in torch.eye(3)])
    decoded = codec.decode(encoded.view(2, 3, 5))
    assert decoded.tolist() == [[[0, 7], [0, 8], [0, 9]], [[1, 7], [1, 8], [1, 9]]]
    assert ActionCodec(spaces.Discrete(3, start=4)).decode(torch.eye(3)).tolist() == [4, 5, 6]


def test_float32_rounding_never_leaves_the_bounds():
    low = np.array([0.1, -0.3, 1e-8], np.float32)
    space = spaces.Box(low, low + np.float32(0.7))
    codec = ActionCodec(space)
    for action in np.linspace(-1, 1, 21):
        assert space.contains(codec.to_env(np.full(3, action, np.float32)))


ACTION_NAMES = "Box, Discrete, MultiBinary, MultiDiscrete"
UNSUPPORTED = {
    "Text": spaces.Text(5),
    "Graph": spaces.Graph(spaces.Box(-1, 1, (2,)), None),
    "Sequence": spaces.Sequence(spaces.Discrete(2)),
    "OneOf": spaces.OneOf([spaces.Discrete(2), spaces.Box(-1, 1, (2,))]),
    "Dict": spaces.Dict(a=spaces.Discrete(2)),
    "Tuple": spaces.Tuple([spaces.Discrete(2)]),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_action_space_is_refused_by_name(name):
    text = (
        f"env.id=Fake: action space {name} is not supported; supported are {ACTION_NAMES}; "
        "convert it with a wrapper: env.wrappers=[package.Wrapper]"
    )
    with pytest.raises(UserError, match=re.escape(text) + "$"):
        Env(Fake(action_space=UNSUPPORTED[name]))


@pytest.mark.parametrize("name", ["Text", "Graph", "Sequence", "OneOf"])
def test_an_unsupported_observation_space_is_refused_also_when_nested(name):
    text = f"observation space {name} is not supported; supported are {ACTION_NAMES}, Dict, Tuple"
    for space in (UNSUPPORTED[name], spaces.Dict(a=spaces.Tuple([UNSUPPORTED[name]]))):
        with pytest.raises(UserError, match=re.escape(text)):
            Env(Fake(observation_space=space))


def test_an_empty_space_is_refused():
    with pytest.raises(UserError, match=r"observation space .* is empty"):
        Env(Fake(observation_space=spaces.Box(-1, 1, (0,))))
    with pytest.raises(UserError, match=r"action space .* is empty"):
        Env(Fake(action_space=spaces.Box(-1, 1, (0,))))


def test_the_smallest_time_limit_is_used():
    assert make_env("CartPole-v1").spec.max_episode_steps == 500
    assert make_env("CartPole-v1", max_episode_steps=7).spec.max_episode_steps == 7
    assert make_env("mbrl/CartPoleContinuous-v0").spec.max_episode_steps == 200
    assert Env(gymnasium.wrappers.TimeLimit(Fake(), 9)).spec.max_episode_steps == 9
    twice = gymnasium.wrappers.TimeLimit(gymnasium.make("CartPole-v1", max_episode_steps=5), 8)
    assert Env(twice).spec.max_episode_steps == 5
    assert Env(Fake()).spec.max_episode_steps is None
    # An action is repeated for two steps: the third decision sees the limit after five steps.
    assert make_env("CartPole-v1", max_episode_steps=5, action_repeat=2).spec.max_episode_steps == 3


def test_a_time_limit_truncates_and_a_seed_repeats_the_first_observation():
    env = make_env("Pendulum-v1", max_episode_steps=3)
    first = env.reset(seed=5)
    steps = [env.step(np.array([0.1], np.float32)) for _ in range(3)]
    assert [step[2:] for step in steps] == [(False, False), (False, False), (False, True)]
    assert np.array_equal(env.reset(seed=5), first)
    assert not np.array_equal(env.reset(seed=6), first)


REFUSED = {
    "env.id=CartPol-v1: unknown environment; did you mean CartPole-v1": {"id": "CartPol-v1"},
    "env.id=CartPole-v9: unknown environment; did you mean CartPole-v1": {"id": "CartPole-v9"},
    "did you mean mbrl/GridWorld-v0": {"id": "mbrl/GridWrld-v0"},
    "env.id=foo/Bar-v0: unknown environment; where a package": {"id": "foo/Bar-v0"},
    "env.id=no_such_package:X-v0: cannot import no_such_package": {"id": "no_such_package:X-v0"},
    "env.max_episode_steps=0: must be >= 1 or null": {"id": "CartPole-v1", "max_episode_steps": 0},
    "env.kwargs={'sizes': 4}: got an unexpected keyword argument 'sizes'; "
    "mbrl/GridWorld-v0 takes size, start, goal, obstacles, max_steps, render_mode": {
        "id": "mbrl/GridWorld-v0",
        "kwargs": {"sizes": 4},
    },
    "env.kwargs={'map_name': '9x9'}: FrozenLake-v1 refused them: KeyError": {
        "id": "FrozenLake-v1",
        "kwargs": {"map_name": "9x9"},
    },
    "env.reward=known: no simulator of Blackjack-v1": {"id": "Blackjack-v1", "reward": "known"},
    "env.termination=yes: allowed are learned, known, package.module:function": {
        "id": "CartPole-v1",
        "termination": "yes",
    },
    "env.reward=no_such_package:f: cannot import no_such_package": {
        "id": "CartPole-v1",
        "reward": "no_such_package:f",
    },
    "env.reward=torch:zros: torch has no function zros; did you mean zeros": {
        "id": "CartPole-v1",
        "reward": "torch:zros",
    },
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_argument_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=re.escape(text)) as caught:
        make_env(**REFUSED[text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "extra"),
    [
        ("MuJoCo is not installed, run `pip install x`", "mujoco"),
        ("Box2D is not installed", "box2d"),
        ("pygame is not installed", "render"),
    ],
)
def test_a_missing_dependency_names_the_extra(monkeypatch, message, extra):
    def creator():
        raise gymnasium.error.DependencyNotInstalled(message)

    spec = gymnasium.envs.registration.EnvSpec("Needy-v0", entry_point=creator)
    monkeypatch.setitem(gymnasium.registry, "Needy-v0", spec)
    with pytest.raises(UserError, match=re.escape(f'pip install -c constraints.txt ".[{extra}]"')):
        make_env("Needy-v0")


def test_a_fault_of_the_environment_names_its_id_and_keeps_its_cause(monkeypatch):
    def creator():
        raise ValueError("a bug")

    spec = gymnasium.envs.registration.EnvSpec("Buggy-v0", entry_point=creator)
    monkeypatch.setitem(gymnasium.registry, "Buggy-v0", spec)
    with pytest.raises(EnvironmentFault, match=r"Buggy-v0: cannot be built .*a bug") as fault:
        make_env("Buggy-v0")
    assert isinstance(fault.value.__cause__, ValueError)


def test_an_id_can_name_the_package_that_registers_it():
    assert make_env("mbrl_cli.envs.make:mbrl/GridWorld-v0").spec.id == "mbrl/GridWorld-v0"


def test_known_functions_are_those_of_the_simulator():
    env = make_env("Pendulum-v1", reward="known", termination="known", recommended={"steps": 1})
    obs, action = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.5])  # hanging down, torque 1 N m
    # -(pi^2 + 0.1 * 2^2 + 0.001 * 1^2)
    assert env.spec.known_reward(obs, action, obs).item() == pytest.approx(-10.270604, abs=1e-5)
    assert not env.spec.known_termination(obs, action, obs)
    learned = make_env("Pendulum-v1").spec
    assert learned.known_reward is None
    assert learned.known_termination is None


def test_a_user_s_function_gets_the_action_in_the_environment_s_units(monkeypatch):
    mine = types.ModuleType("mine")
    mine.torque = lambda obs, action, next_obs: action[..., 0]
    mine.index = lambda obs, action, next_obs: action + next_obs[..., 0]
    mine.flat = lambda obs, action, next_obs: next_obs[:, 0]
    monkeypatch.setitem(sys.modules, "mine", mine)
    pendulum = make_env("Pendulum-v1", reward="mine:torque").spec
    assert pendulum.known_reward(torch.zeros(3), torch.tensor([0.5]), torch.zeros(3)) == 1.0
    acrobot = make_env("Acrobot-v1", reward="mine:index").spec
    obs = torch.full((2, 6), 0.5)
    assert acrobot.known_reward(obs, torch.eye(3)[1:], obs).tolist() == [1.5, 2.5]
    with pytest.raises(UserError, match=r"returned \[2, 6\] for obs \[2, 3, 6\]; .* \[2, 3\]"):
        make_env("Acrobot-v1", reward="mine:flat")


def test_full_force_of_the_continuous_cart_pole_equals_the_discrete_actions():
    discrete, continuous = gymnasium.make("CartPole-v1"), CartPoleContinuous()
    for side in (0, 1):
        discrete.reset(seed=side)
        continuous.reset(seed=side)
        terminated = False
        while not terminated:
            expected = discrete.step(side)
            obs, reward, terminated, *_ = continuous.step(np.array([2.0 * side - 1.0], np.float32))
            np.testing.assert_allclose(obs, expected[0], rtol=1e-6)
            assert (reward, terminated) == expected[1:3]


def test_half_force_from_rest_gives_the_state_computed_by_hand():
    env = CartPoleContinuous()
    env.reset(seed=0)
    env.state = np.zeros(4)
    obs, *_ = env.step(np.array([0.5], np.float32))
    # 5 N on 1.1 kg: push = 4.545455; angle acc = -push / (0.5 * (4/3 - 0.1/1.1)) = -7.317073;
    # x acc = push + 0.05 * 7.317073 / 1.1 = 4.878049; times 0.02 s
    np.testing.assert_allclose(obs, [0.0, 0.09756098, 0.0, -0.14634146], rtol=1e-6)


def test_the_continuous_cart_pole_passes_gymnasium_s_checker():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*infinity")  # CartPole-v1's velocities too
        check_env(gymnasium.make("mbrl/CartPoleContinuous-v0").unwrapped, skip_render_check=True)
