"""Known rewards and terminations of MuJoCo tasks equal the simulator's."""

import pytest
import torch

pytest.importorskip("mujoco")

import importlib.util
from pathlib import Path

import numpy as np

from mbrl_cli.envs.known_function_check import check_known_functions
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError
from mbrl_cli.types import Batch

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "mujoco_functions.py"
SPEC = importlib.util.spec_from_file_location("mujoco_functions", PATH)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)
EXACT = [
    *((id, how) for id in benchmark.LOCOMOTION for how in ("x position", "ForwardVelocity")),
    ("Humanoid-v5", "ForwardVelocity"), ("InvertedPendulum-v5", "default"),
    ("Reacher-v5", "default"), ("Pusher-v5", "default"), ("HumanoidStandup-v5", "default"),
    ("mbrl/CartPoleSwingUp-v0", "default"),
]  # fmt: skip
EXACT.remove(("Ant-v5", "x position"))  # Ant's reward has the position before the last substage


@pytest.mark.parametrize(("id", "how"), EXACT)
def test_a_known_function_equals_the_simulator(id, how):
    row = benchmark.compare(id, how, count=300)
    assert row["largest"] < 1e-4  # measured on 10,000 transitions: below 2e-5
    assert row["other ends"] == 0
    if id in ("Hopper-v5", "Walker2d-v5", "Humanoid-v5", "InvertedPendulum-v5"):
        assert row["ends"] > 0


@pytest.mark.parametrize(
    ("id", "how", "bound"),
    [  # measured on 10,000 transitions: 0.15, 0.0067, 0.0075
        ("HalfCheetah-v5", "default", 0.25),
        ("Hopper-v5", "default", 0.02),
        ("Ant-v5", "x position", 0.02),
    ],
)
def test_an_approximate_reward_is_close_and_says_that_it_is_approximate(id, how, bound):
    row = benchmark.compare(id, how, count=300)
    assert 1e-4 < row["rms"] < bound
    kwargs = benchmark.X_OBSERVED if how == "x position" else None
    env = make_env(id, kwargs, reward="known", termination="known")
    assert env.notices()[0].startswith(f"env.id={id}: env.reward=known is approximate; 'env.wrap")
    assert make_env(id, kwargs).notices() == []
    # The check at the start of a run accepts it.
    obs, action, next_obs, reward, terminated = benchmark.transitions(env, 50, seed=0)
    check_known_functions(env.spec, Batch(obs, action, reward, next_obs, terminated))


def test_the_double_pendulum_is_exact_where_velocities_are_not_clipped():
    env = make_env("InvertedDoublePendulum-v5", reward="known", termination="known")
    obs, action, next_obs, reward, terminated = benchmark.transitions(env, 400, seed=0)
    slow = next_obs[:, 5:8].abs().amax(dim=-1) < 10.0
    known = env.spec.known_reward(obs, action, next_obs)
    assert slow.float().mean() > 0.9
    torch.testing.assert_close(known[slow], reward[slow], atol=1e-3, rtol=0)
    assert torch.equal(env.spec.known_termination(obs, action, next_obs), terminated.bool())


@pytest.mark.parametrize(
    ("id", "kwargs"),
    [
        ("Hopper-v5", {"healthy_reward": 3.0, "terminate_when_unhealthy": False}),
        ("Walker2d-v5", {"forward_reward_weight": 2.0, "healthy_z_range": [1.2, 1.3]}),
        ("Ant-v5", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}),
        ("Humanoid-v5", {"contact_cost_range": [0.01, 0.02], "include_cvel_in_observation": False}),
        ("Reacher-v5", {"reward_control_weight": 0.3, "frame_skip": 4}),
    ],
)
def test_arguments_of_the_constructor_are_used(id, kwargs):
    wrappers = benchmark.VELOCITY if "Reacher" not in id else ()
    env = make_env(id, kwargs, wrappers, reward="known", termination="known")
    obs, action, next_obs, reward, terminated = benchmark.transitions(env, 200, seed=1)
    known = env.spec.known_reward(obs[None], action[None], next_obs[None])[0]
    torch.testing.assert_close(known, reward, atol=1e-5, rtol=1e-5)
    ends = env.spec.known_termination(obs[None], action[None], next_obs[None])[0]
    assert torch.equal(ends, terminated.bool())


@pytest.mark.parametrize(
    ("id", "arguments", "message"),
    [
        ("Humanoid-v5", {}, "velocity of the centre of mass, which is not observed; use 'env.wr"),
        (
            "Ant-v5",
            {"kwargs": {"include_cfrc_ext_in_observation": False}},
            "contact forces, which are not observed; use env.kwargs.include_cfrc",
        ),
        ("Hopper-v5", {"action_repeat": 2}, "a reward is the sum over repeated steps"),
    ],
)
def test_what_is_not_observed_is_refused(id, arguments, message):
    with pytest.raises(UserError, match=f"env.reward=known: .*{message}") as caught:
        make_env(id, reward="known", **arguments)
    assert "\n" not in str(caught.value)
    env = make_env(id, termination="known", **arguments)  # this one is known
    obs, action, next_obs, _, terminated = benchmark.transitions(env, 100, seed=0)
    assert torch.equal(env.spec.known_termination(obs, action, next_obs), terminated.bool())


def test_other_wrappers_and_versions_are_refused():
    text = "no simulator of .*; known are also .* of version 5; use env.reward=learned, or add one"
    for id, wrapper in (("Hopper-v4", []), ("Hopper-v5", ["gymnasium.wrappers.NormalizeReward"])):
        with pytest.raises(UserError, match=f"env.reward=known: {text}"):
            make_env(id, wrappers=wrapper, reward="known")


def test_the_forward_velocity_is_the_last_entry():
    env = make_env("HalfCheetah-v5", wrappers=benchmark.VELOCITY)
    assert env.spec.obs_dim == 18
    assert env.reset(0)[-1] == 0.0
    before = env.gym.unwrapped.data.qpos[0]
    obs, *_ = env.step(np.ones(6))
    moved = env.gym.unwrapped.data.qpos[0] - before
    assert obs[-1] == pytest.approx(moved / 0.05, rel=1e-5)
    with pytest.raises(UserError, match=r"env\.wrappers\[0\].*needs vectors"):
        make_env("FrozenLake-v1", wrappers=benchmark.VELOCITY)
