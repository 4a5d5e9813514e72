"""The cart-pole of PETS: its start, its reward in states chosen by hand, its known reward."""

import pytest

pytest.importorskip("mujoco")

import numpy as np
import torch

from mbrl_cli.envs.make import make_env


@pytest.fixture
def env():
    made = make_env("mbrl/CartPoleSwingUp-v0", reward="known", termination="known")
    yield made
    made.close()


def test_an_episode_starts_with_the_pole_down_and_has_200_steps(env):
    obs = env.reset(seed=1)
    assert obs[2] == pytest.approx(1.0, abs=0.1)  # cos of an angle with a std of 0.1
    for step in range(200):
        _, _, terminated, truncated = env.step(np.zeros(1))
        assert (terminated, truncated) == (False, step == 199)


def test_the_pole_turns_freely(env):
    env.reset(seed=1)
    task = env.gym.unwrapped
    task.set_state(np.zeros(2), np.array([0.0, 40.0]))
    cos = [env.step(np.zeros(1))[0][2] for _ in range(20)]
    assert min(cos) < -0.8  # it was upside down, and
    assert task.data.qpos[1] > np.pi  # fell on the other side


@pytest.mark.parametrize(
    ("x", "angle", "action", "expected"),
    [
        (0.0, np.pi, 0.0, 1.0),  # upright in the middle: distance 0
        (0.0, 0.0, 0.0, np.exp(-4.0)),  # hanging: two lengths away
        (0.6, np.pi, 0.0, np.exp(-1.0)),  # upright, one length beside the goal
        (0.6, np.pi / 2, 1.0, np.exp(-1.0) - 0.09),  # tip at (0, 0), one length below; 3^2 / 100
    ],
)
def test_the_reward_of_a_state(env, x, angle, action, expected):
    next_obs = torch.tensor([x, np.sin(angle), np.cos(angle), 0.0, 0.0], dtype=torch.float32)
    action = torch.tensor([action])  # encoded: 1 is the action 3
    reward = env.spec.known_reward(next_obs, action, next_obs)
    assert float(reward) == pytest.approx(expected, abs=1e-6)
    task = env.gym.unwrapped
    env.reset(seed=0)
    task.set_state(np.array([x, angle]), np.zeros(2))
    _, of_step, _, _ = env.step(action.numpy())
    # Gravity and the action move the tip for 0.04 s.
    assert of_step == pytest.approx(expected, abs=0.15)
