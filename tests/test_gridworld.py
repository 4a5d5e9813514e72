"""The grid world: moves and returns computed by hand, refused arguments, rendering."""

import re
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mbrl_cli.envs.gridworld import GridWorld
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError

UP, DOWN, LEFT, RIGHT = range(4)


def play(env, actions):
    env.reset(seed=0)
    return [env.step(action) for action in actions]


def test_the_shortest_path_returns_93():
    steps = play(GridWorld(), [UP] * 4 + [RIGHT] * 4)
    assert sum(step[1] for step in steps) == 93  # 7 * -1 + 100
    assert [step[2] for step in steps] == [False] * 7 + [True]
    assert steps[-1][0].tolist() == [4, 4]


def test_the_shortest_path_returns_93_through_the_adapter():
    env = make_env("mbrl/GridWorld-v0")
    assert env.reset(seed=0).tolist() == [0, 0]
    one_hot = np.eye(4, dtype=np.float32)
    steps = [env.step(one_hot[action]) for action in [RIGHT] * 4 + [UP] * 4]
    assert sum(step[1] for step in steps) == 93
    assert env.spec.obs_integer == (True, True)
    assert env.spec.max_episode_steps == 50


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([DOWN], [0, 0]),  # bottom wall
        ([LEFT], [0, 0]),  # left wall
        ([UP] * 6, [0, 4]),  # top wall
        ([RIGHT] * 6, [4, 0]),  # right wall
        ([UP, UP, RIGHT, RIGHT], [1, 2]),  # the obstacle (2, 2) stops the last move
        ([RIGHT, RIGHT, UP, UP], [2, 1]),  # the same obstacle from below
        ([UP, RIGHT, DOWN, LEFT], [0, 0]),
    ],
)
def test_moves_end_at_the_cell_found_by_hand(actions, expected):
    assert play(GridWorld(), actions)[-1][0].tolist() == expected


def test_it_truncates_but_does_not_terminate_at_max_steps():
    steps = play(GridWorld(max_steps=3), [LEFT] * 3)
    assert [step[2:4] for step in steps] == [(False, False), (False, False), (False, True)]
    assert make_env("mbrl/GridWorld-v0", {"max_steps": 3}).spec.max_episode_steps == 3
    assert make_env("mbrl/GridWorld-v0", max_episode_steps=9).spec.max_episode_steps == 9


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"size": 1}, "env.kwargs.size=1: must be a whole number >= 2"),
        ({"size": 4.5}, "env.kwargs.size=4.5: must be a whole number >= 2"),
        ({"max_steps": 0}, "env.kwargs.max_steps=0: must be a whole number >= 1"),
        ({"goal": [5, 0]}, "env.kwargs.goal=(5, 0): must be [x, y], each from 0 to 4"),
        ({"start": [0]}, "env.kwargs.start=(0,): must be [x, y], each from 0 to 4"),
        ({"start": [0.5, 0]}, "env.kwargs.start=(0.5, 0): must be [x, y], each from 0 to 4"),
        ({"obstacles": [[-1, 0]]}, "env.kwargs.obstacles=(-1, 0): must be [x, y]"),
        ({"goal": [2, 2]}, "env.kwargs.goal=(2, 2): lies on an obstacle"),
        ({"start": [2, 3]}, "env.kwargs.start=(2, 3): lies on an obstacle"),
        ({"goal": [0, 0]}, "env.kwargs.goal=(0, 0): must differ from the start"),
        ({"obstacles": [[3, 4], [4, 3]]}, "env.kwargs.goal=(4, 4): the obstacles cut it off"),
    ],
)
def test_an_impossible_grid_is_refused(kwargs, text):
    with pytest.raises(UserError, match=re.escape(text)):
        make_env("mbrl/GridWorld-v0", kwargs)


def test_rendering_has_y_pointing_up():
    env = GridWorld(size=3, goal=(2, 2), obstacles=[(1, 1)], render_mode="ansi")
    play(env, [RIGHT])
    assert env.render() == ". . G\n. # .\n. A .\n"
    env = GridWorld(size=3, goal=(2, 2), obstacles=[(1, 1)], render_mode="rgb_array")
    play(env, [RIGHT])
    pixels = env.render()
    assert (pixels.shape, pixels.dtype) == ((96, 96, 3), np.uint8)
    agent, goal, empty = pixels[80, 48], pixels[16, 80], pixels[80, 16]
    assert agent[2] > agent[0]  # blue
    assert goal[1] > goal[0]  # green
    assert len(set(empty.tolist())) == 1  # grey


def test_it_passes_gymnasium_s_checker():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make("mbrl/GridWorld-v0").unwrapped)
