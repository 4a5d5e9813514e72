"""Simulators of the package: each equals its environment."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import RescaleAction, TimeLimit, TransformObservation

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.gridworld import GridWorld
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.simulators.builtin import BUILTIN_IDS, builtin_simulator

PI = np.pi
# Ranges to draw the environment's own state from: wide enough for its walls, its wrap-arounds
# and its terminations.
STATES = {
    "CartPole-v1": [(-2.5, 2.5), (-3, 3), (-0.22, 0.22), (-3, 3)],
    "mbrl/CartPoleContinuous-v0": [(-2.5, 2.5), (-3, 3), (-0.22, 0.22), (-3, 3)],
    "Pendulum-v1": [(-2 * PI, 2 * PI), (-8, 8)],
    "Acrobot-v1": [(-PI, PI), (-PI, PI), (-4 * PI, 4 * PI), (-9 * PI, 9 * PI)],
    "MountainCar-v0": [(-1.2, 0.6), (-0.07, 0.07)],
    "MountainCarContinuous-v0": [(-1.2, 0.6), (-0.07, 0.07)],
}


def show(env, state):
    """Return the observation that belongs to the internal `state`."""
    if env.spec.id == "Pendulum-v1":
        return [np.cos(state[0]), np.sin(state[0]), state[1]]
    if env.spec.id == "Acrobot-v1":
        angles = [f(angle) for angle in state[:2] for f in (np.cos, np.sin)]
        return [*angles, *state[2:]]
    return state


def random_action(env, rng):
    spec = env.spec.action
    if spec.kind == "continuous":
        return rng.uniform(-1.2, 1.2, size=spec.dim).astype(
            np.float32
        )  # also beyond the bounds, which are clipped
    return np.eye(spec.dim, dtype=np.float32)[rng.integers(spec.dim)]


def transitions(env, states, seed):
    """Return obs [n, O], action [n, A], next_obs [n, O], reward [n], terminated [n]."""
    rng = np.random.default_rng(seed)
    rows = []
    for state in states:
        env.reset(seed=0)
        inner = env.gym.unwrapped
        inner.state = np.array(state, dtype=np.float64)
        obs, action = np.array(show(env, state), np.float32), random_action(env, rng)
        next_obs, reward, terminated, _ = env.step(action)
        rows.append((obs, action, next_obs, np.float32(reward), np.float32(terminated)))
    return tuple(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))


def assert_equal(simulator, obs, action, next_obs, reward, terminated):
    """Compare all transitions, reshaped to [2, n / 2, ...] to test several leading axes."""
    n = len(obs)
    folded = (obs.view(2, n // 2, -1), action.view(2, n // 2, -1))
    imagined = simulator.step(*folded)
    assert imagined.dtype == torch.float32
    torch.testing.assert_close(imagined.view(n, -1), next_obs, atol=1e-4, rtol=1e-4)
    true = (*folded, next_obs.view(2, n // 2, -1))
    imagined_reward = simulator.reward(*true)
    assert imagined_reward.dtype == torch.float32
    torch.testing.assert_close(imagined_reward.view(n), reward, atol=1e-4, rtol=1e-4)
    imagined_end = simulator.terminated(*true)
    assert imagined_end.dtype == torch.bool
    assert torch.equal(imagined_end.view(n), terminated.bool())


def assert_equals_the_environment(env, seed=0, count=400):
    low, high = np.array(STATES[env.spec.id]).T
    states = np.random.default_rng(seed).uniform(low, high, size=(count, len(low)))
    data = transitions(env, states, seed)
    assert_equal(env.spec.simulator, *data)
    return data


@pytest.mark.parametrize("env_id", STATES)
def test_random_transitions_equal_the_environment_s(env_id):
    *_, next_obs, _, terminated = assert_equals_the_environment(make_env(env_id))
    if env_id != "Pendulum-v1":  # both values occur in the sample
        assert 0 < terminated.mean() < 1
    if env_id.startswith("MountainCar"):  # the sample reaches the wall
        assert (next_obs == torch.tensor([-1.2, 0.0])).all(dim=-1).any()
    if env_id == "Acrobot-v1":  # the sample reaches both speed limits
        assert (next_obs[:, 4:].abs() == torch.tensor([4 * PI, 9 * PI])).any(dim=0).all()


def test_every_cell_and_move_of_the_grid_world():
    env = make_env("mbrl/GridWorld-v0")
    inner = env.gym.unwrapped
    rows = []
    for x, y in np.ndindex(5, 5):
        if (x, y) in inner.obstacles or (x, y) == inner.goal:
            continue
        for action in torch.eye(4):
            env.reset(seed=0)
            inner._position = (x, y)
            next_obs, reward, terminated, _ = env.step(action.numpy())
            result = torch.tensor([reward, terminated])
            rows.append((torch.tensor([x, y]).float(), action, torch.from_numpy(next_obs), result))
    obs, actions, next_obs, result = (torch.stack(column) for column in zip(*rows, strict=True))
    assert len(obs) == 84  # 25 cells - 3 obstacles - the goal, 4 moves each
    assert result[:, 1].sum() == 2  # the goal is entered from the left and from below
    assert_equal(env.spec.simulator, obs, actions, next_obs, result[:, 0], result[:, 1])
    # predicted positions are rounded to the nearest cell
    assert env.spec.simulator.terminated(obs[0], actions[0], torch.tensor([3.8, 4.3]))


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"])
def test_toy_text_rewards_and_terminations_equal_the_environment_s(env_id):
    env = make_env(env_id)
    simulator, rng, rows = env.spec.simulator, np.random.default_rng(0), []
    obs, over = env.reset(0), False
    for k in range(600):
        obs = env.reset(k) if over else obs
        action = random_action(env, rng)
        next_obs, reward, terminated, truncated = env.step(action)
        rows.append((obs, action, next_obs, np.float32(reward), np.float32(terminated)))
        obs, over = next_obs, terminated or truncated
    columns = [torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)]
    obs, action, next_obs, reward, terminated = columns
    if not simulator.is_random:
        assert_equal(simulator, *columns)
    torch.testing.assert_close(simulator.reward(obs, action, next_obs), reward)
    assert torch.equal(simulator.terminated(obs, action, next_obs), terminated.bool())


def test_frozen_lake_outcomes_have_the_probabilities_of_the_table():
    env = make_env("FrozenLake-v1")
    at, right = torch.eye(16)[8].expand(3000, -1), torch.eye(4)[2].expand(3000, -1)
    uniform = (torch.arange(3000) + 0.5) / 3000  # evenly spaced
    moved = env.spec.simulator.step(at, right, uniform).mean(0)  # right, or down or up by slipping
    assert moved[[9, 12, 4]].tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_an_open_loop_episode_stays_on_the_true_one():
    env = make_env("CartPole-v1")
    obs = torch.from_numpy(env.reset(seed=3))
    rng = np.random.default_rng(3)
    terminated = False
    while not terminated:
        action = random_action(env, rng)
        obs = env.spec.simulator.step(obs, torch.from_numpy(action))
        true, _, terminated, _ = env.step(action)
        torch.testing.assert_close(obs, torch.from_numpy(true), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("CartPole-v1", {"sutton_barto_reward": True}),
        ("Pendulum-v1", {"g": 3.0}),
        ("MountainCar-v0", {"goal_velocity": 0.03}),
        ("MountainCarContinuous-v0", {"goal_velocity": 0.03}),
    ],
)
def test_the_environment_s_constructor_arguments_are_used(env_id, kwargs):
    assert_equals_the_environment(make_env(env_id, kwargs))


@pytest.mark.parametrize(
    ("env_id", "name", "value"),
    [
        ("CartPole-v1", "kinematics_integrator", "semi-implicit euler"),
        ("CartPole-v1", "gravity", 3.0),
        ("Acrobot-v1", "book_or_nips", "nips"),
        ("Acrobot-v1", "LINK_LENGTH_1", 0.7),
        ("Acrobot-v1", "LINK_MASS_2", 1.5),
        ("Pendulum-v1", "l", 0.7),
        ("MountainCar-v0", "force", 0.002),
        ("MountainCarContinuous-v0", "power", 0.003),
    ],
)
def test_parameters_are_read_from_the_live_environment(env_id, name, value):
    gym_env = gymnasium.make(env_id)
    setattr(gym_env.unwrapped, name, value)
    assert_equals_the_environment(Env(gym_env))


@pytest.mark.filterwarnings("ignore:.*precision lowered")  # by RescaleAction
def test_only_exactly_known_dynamics_have_a_simulator():
    class Variant(CartPoleEnv):
        pass

    cartpole = gymnasium.make("CartPole-v1")
    assert builtin_simulator(Variant()) is None
    assert builtin_simulator(TransformObservation(cartpole, lambda obs: -obs, None)) is None
    assert builtin_simulator(RescaleAction(gymnasium.make("Pendulum-v1"), -0.5, 0.5)) is None
    assert builtin_simulator(gymnasium.make("Blackjack-v1")) is None
    noisy = gymnasium.make("Acrobot-v1")
    noisy.unwrapped.torque_noise_max = 0.1
    assert builtin_simulator(noisy) is None
    assert builtin_simulator(TimeLimit(GridWorld(), 5)) is not None
    assert all(builtin_simulator(gymnasium.make(env_id)) for env_id in BUILTIN_IDS)
