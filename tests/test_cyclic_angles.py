"""Angles as cosine and sine: values derived by hand, and arguments that are refused."""

import re

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from mbrl_cli.envs.cyclic_angles import CyclicAngles
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError

TARGET = "mbrl_cli.envs.cyclic_angles.CyclicAngles"


class Arm(gymnasium.Env):
    """Joint angles [2] beside a distance; each step turns the first joint by a quarter turn."""

    observation_space = spaces.Dict(
        {
            "angles": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "distance": spaces.Box(0.0, 5.0, (1,), np.float64),
        }
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.turned = 0.0
        return self.obs(), {}

    def step(self, action):
        self.turned += np.pi / 2
        return self.obs(), 0.0, False, False, {}

    def obs(self):
        return {"angles": np.array([self.turned, 0.25]), "distance": np.array([3.0])}


def test_an_angle_becomes_its_cosine_in_place_and_its_sine_at_the_end():
    env = CyclicAngles(Arm(), [0])
    assert env.observation_space.low.tolist() == [-1.0, -np.inf, 0.0, -1.0]
    assert env.observation_space.high.tolist() == [1.0, np.inf, 5.0, 1.0]
    seen = [env.reset()[0], *(env.step(0)[0] for _ in range(4))]
    assert np.allclose(
        seen,
        [[1, 0.25, 3, 0], [0, 0.25, 3, 1], [-1, 0.25, 3, 0], [0, 0.25, 3, -1], [1, 0.25, 3, 0]],
    )
    assert all(obs in env.observation_space for obs in seen)


def test_sines_follow_in_the_order_of_the_entries():
    obs, _ = CyclicAngles(Arm(), [1, 0]).reset()
    assert np.allclose(obs, [1, np.cos(0.25), 3, np.sin(0.25), 0])


def test_the_observation_of_the_environment_is_not_changed():
    arm = Arm()
    arm.reset()
    obs = arm.obs()
    CyclicAngles(arm, [0, 1]).observation(obs)
    assert obs["angles"].tolist() == [0.0, 0.25]


@pytest.mark.parametrize("entries", [[], [3], [-1], [0, 0], [0.5]])
def test_entries_that_do_not_exist_are_refused(entries):
    with pytest.raises(ValueError, match=re.escape("must be different numbers from 0 to 2")):
        CyclicAngles(Arm(), entries)


def test_environments_without_vectors_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"env\.wrappers\[0\]=.*observes Graph"):
        make_env("GraphArm-v0", wrappers=[{"_target_": TARGET, "entries": [0]}])


class GraphArm(Arm):
    """An arm that observes a graph."""

    observation_space = spaces.Graph(spaces.Box(0.0, 1.0, (1,)), None)


gymnasium.register("GraphArm-v0", entry_point=GraphArm)


def test_an_environment_has_it_by_config():
    env = make_env("Pendulum-v1", wrappers=[{"_target_": TARGET, "entries": [2]}])
    assert env.spec.obs_dim == 4
    obs = env.reset(0)
    assert abs(np.hypot(obs[2], obs[3]) - 1.0) < 1e-6
