"""Values that environments return: casts, rewards, the old interface; global random numbers."""

import random

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from toy_env import Toy

from mbrl_cli.agents.random import Random
from mbrl_cli.envs.checked_values import flag, flatten_obs, scalar_reward
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.interface_check import with_interface_check
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import EnvironmentFault
from mbrl_cli.evaluation import evaluate

CHANGED_BY_A_CAST = {
    "fraction in an integer space": (spaces.Box(-10, 10, (2,), np.int64), [0.0, -0.25]),
    "negative number as uint8": (spaces.Box(0, 255, (1,), np.uint8), np.array([-1])),
    "300 as uint8": (spaces.Box(0, 255, (1,), np.uint8), np.array([300])),
    "beyond float32": (spaces.Box(-np.inf, np.inf, (1,), np.float64), np.array([1e300])),
    "beyond float16": (spaces.Box(-np.inf, np.inf, (1,), np.float16), np.array([1e6])),
    "text": (spaces.Box(0, 1, (1,)), np.array(["0.5"])),
    "complex": (spaces.Box(0, 1, (1,)), np.array([0.5 + 1j])),
    "outside of Discrete": (spaces.Discrete(3), -1),
    "fraction in Discrete": (spaces.Discrete(3), 1.5),
    "outside of MultiDiscrete": (spaces.MultiDiscrete([2, 3]), np.array([2, 0])),
    "2 in MultiBinary": (spaces.MultiBinary(2), np.array([2, 0])),
    "transposed": (spaces.Box(0, 1, (2, 3)), np.zeros((3, 2))),
    "missing key": (spaces.Dict(a=spaces.Discrete(2)), {"b": 1}),
    "short tuple": (spaces.Tuple([spaces.Discrete(2)] * 2), (1,)),
}


@pytest.mark.parametrize("name", CHANGED_BY_A_CAST)
def test_an_observation_that_a_cast_would_change_is_refused(name):
    space, obs = CHANGED_BY_A_CAST[name]
    with pytest.raises(ValueError, match="an observation"):
        flatten_obs(space, obs)


@pytest.mark.parametrize(
    ("space", "obs", "expected"),
    [
        (spaces.Box(0, 9, (2,), np.int64), [1.0, 2.0], [1.0, 2.0]),
        (spaces.Box(0, 1, (2,)), torch.tensor([0.25, 0.5], requires_grad=True), [0.25, 0.5]),
        (spaces.Box(0, 1, (2,)), np.array([[0.25], [0.5]]), [0.25, 0.5]),  # another axis of 1
        (spaces.Box(0, 1, (1,)), np.array([0.5], dtype=object), [0.5]),
        (spaces.Box(0, 1, (1,), np.float16), np.array([0.1], np.float32), [np.float16(0.1)]),
        (spaces.Discrete(3, start=1), np.array([2]), [0.0, 1.0, 0.0]),
    ],
)
def test_values_that_a_cast_keeps_are_accepted(space, obs, expected):
    assert flatten_obs(space, obs).tolist() == [float(x) for x in expected]


@pytest.mark.parametrize(
    "reward", [2, 2.0, np.float32(2), np.array([2.0]), np.array(2), torch.tensor([2.0]), [2.0][0]]
)
def test_a_reward_with_one_entry_is_a_number(reward):
    assert scalar_reward(reward) == 2.0
    assert type(scalar_reward(reward)) is float


REWARDS = {
    "has 2 entries .*env.wrappers=": np.array([1.0, 2.0]),
    "is None": None,
    "is '1.0'": "1.0",
    "is nan": float("nan"),
    "beyond float32": 1e39,
}


@pytest.mark.parametrize("text", REWARDS)
def test_a_reward_that_is_no_float32_number_is_refused(text):
    with pytest.raises(ValueError, match=f"the reward.* ?{text}"):
        scalar_reward(REWARDS[text])


def test_the_end_of_an_episode_must_be_a_bool():
    assert [flag("terminated", x) for x in (True, np.False_, 1, np.array([0]))] == [
        True, False, True, False,
    ]  # fmt: skip
    for wrong in (None, {}, 0.5, "False", np.array([True, False])):
        with pytest.raises(ValueError, match="truncated is"):
            flag("truncated", wrong)


@pytest.mark.parametrize(
    "space", [spaces.Discrete(3), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)]
)
def test_actions_have_the_type_that_sample_returns(space):
    env = Env(Toy(space))
    env.reset(0)
    env.step(np.eye(env.spec.action.dim, dtype=np.float32)[0])
    assert type(env.gym.action) is type(space.sample())
    assert env.gym.action.dtype == space.sample().dtype


class OldStep(Toy):
    def step(self, action):
        return self._obs(), 1.0, False, {}


class OldReset(Toy):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldArguments(Toy):
    def reset(self):
        return super().reset()


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("old", [OldStep, OldReset, OldArguments])
def test_the_interface_of_old_gym_is_named(register, old, limit):
    env = make_env(register(old), max_episode_steps=limit)

    def play():
        env.reset(0)
        env.step(np.array([1.0, 0.0], np.float32))

    with pytest.raises(EnvironmentFault, match=r"the interface of Gym before 0\.26") as fault:
        play()
    assert "\n" not in str(fault.value)


def test_the_interface_check_is_below_the_wrappers_of_make():
    wrapped = with_interface_check(gymnasium.wrappers.TimeLimit(Toy(), 3))
    assert isinstance(wrapped, gymnasium.wrappers.TimeLimit)
    assert type(wrapped.env).__name__ == "InterfaceCheck"


# --- random numbers ---------------------------------------------------------------------------


class GlobalRandom(Toy):
    """Draws from the process's generators."""

    def _obs(self):
        draws = random.random() + np.random.random() + float(torch.rand(()))  # noqa: NPY002
        return np.array([draws], np.float32)


def test_a_reset_seeds_the_global_generators():
    env = Env(GlobalRandom())
    action = np.array([1.0, 0.0], np.float32)
    first = [env.reset(5).item(), env.step(action)[0].item()]
    assert [env.reset(5).item(), env.step(action)[0].item()] == first
    assert env.reset(6).item() != first[0]


def test_an_evaluation_restores_the_global_generators():
    env = Env(GlobalRandom(length=3))
    action = np.array([1.0, 0.0], np.float32)
    env.reset(5)
    undisturbed = env.step(action)[0].item()
    env.reset(5)
    evaluate(Random(env.spec), [Env(GlobalRandom(length=3))], seed=0)
    assert env.step(action)[0].item() == undisturbed
