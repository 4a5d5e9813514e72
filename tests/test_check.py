"""`mbrl check`: each kind of fault of an environment is named, and a good one has none."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from toy_env import Toy

from mbrl_cli.config import run_cost
from mbrl_cli.envs.make import make_env
from mbrl_cli.reports import env_sampling
from mbrl_cli.reports.check_report import CheckReport
from mbrl_cli.reports.env_check import EnvCheck
from mbrl_cli.reports.env_seeding import SEED, Trajectory, num_steps
from mbrl_cli.reports.space_entries import action_rows, observation_rows

WORDS = ["env=gym", "env.id=Toy-v0", "device=cpu"]


class Point(gymnasium.Env):
    """A point in a Dict observation; the reward is minus its distance to the goal."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.observation_space = spaces.Dict(
            {
                "position": spaces.Box(np.array([-3.0, -2.0]), np.array([3.0, 2.0]), dtype=float),
                "mode": spaces.Discrete(2, start=5),
                "goal": spaces.Tuple([spaces.Box(-1.0, 1.0, (2,))]),
            }
        )
        self.action_space = spaces.Box(np.float32([-1, -0.5]), np.float32([1, 0.5]))

    def look(self):
        return {"position": self.x.copy(), "mode": 5 + self.t % 2, "goal": (self.goal,)}

    def draw_goal(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x, self.goal = 0, np.zeros(2), self.draw_goal()
        return self.look(), {}

    def step(self, action):
        self.t += 1
        self.x = np.clip(self.x + 0.2 * action, -2, 2)
        distance = float(np.abs(self.x - self.goal).sum())
        return self.look(), -distance, distance < 1.0, self.t >= 10, {}

    def render(self):
        return np.zeros((6, 8, 3), np.uint8)


class IgnoresItsSeed(Point):
    def draw_goal(self):
        return np.random.default_rng().uniform(-1, 1, 2).astype(np.float32)


class DrawsGlobally(Point):
    def draw_goal(self):
        return np.random.uniform(-1, 1, 2).astype(np.float32)  # noqa: NPY002


class RemembersEpisodes(Point):
    """The goal of the first episode of an instance stays."""

    def draw_goal(self):
        self.first = getattr(self, "first", None)
        self.first = super().draw_goal() if self.first is None else self.first
        return self.first


class TerminatesAtALimit(Point):
    def step(self, action):
        obs, reward, _, truncated, info = super().step(action)
        return obs, reward, truncated, False, info


class ReturnsOtherTypes(Point):
    def look(self):
        return super().look() | {"position": np.array([0.0, 9.0])}

    def step(self, action):
        obs, reward, terminated, truncated, _ = super().step(action)
        return obs, np.array([reward]), int(terminated), truncated, None


def reward(obs, action, next_obs):  # goal 0-1, mode 2-3, position 4-5
    return -(next_obs[..., 4:6] - next_obs[..., 0:2]).abs().sum(-1)


def reward_of_the_state_before(obs, action, next_obs):
    return reward(obs, action, obs)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(env_sampling, "MAX_STEPS", 200)
    monkeypatch.setattr(env_sampling, "MIN_STEPS", 50)
    monkeypatch.setattr(run_cost, "MAX_DECISIONS", 4)


@pytest.fixture
def check(register, capsys):
    """Return a function that checks an environment; it returns the faults and the output."""

    def checked(creator, *words):
        register(creator)
        report = CheckReport()
        EnvCheck([*WORDS, *words], None, report).run()
        return report.faults, " ".join(capsys.readouterr().out.split())

    return checked


def test_entries_have_the_names_and_the_order_of_the_flat_observation(register):
    env = make_env(register(Point))
    # A Dict space sorts its keys.
    assert observation_rows(env) == [
        ("0-1", "goal[0]", "[-1, 1], float32 [2]"),
        ("2-3", "mode", "one-hot of 5 to 6"),
        ("4", "position[0]", "[-3, 3], float64"),
        ("5", "position[1]", "[-2, 2], float64"),
    ]
    assert action_rows(env) == [
        ("0", "action[0]", "[-1, 1], not scaled"),
        ("1", "action[1]", "[-1, 1] of the agent is scaled to [-0.5, 0.5]"),
    ]


def test_discrete_actions_are_blocks(register):
    action_space = spaces.MultiDiscrete([2, 3], start=[0, 4])
    env = make_env(register(lambda: Toy(action_space)))
    assert action_rows(env) == [
        ("0-1", "action[0]", "one-hot of 0 to 1"),
        ("2-4", "action[1]", "one-hot of 4 to 6"),
    ]
    assert observation_rows(env) == [("0", "obs", "[-1e+06, 1e+06], float32 [1]")]


def test_a_good_environment_has_no_fault(check):
    faults, out = check(Point, "env.reward=test_check:reward")
    assert faults == []
    assert "in one instance and in a second instance" in out
    assert "rgb_array, 6 x 8 pixels" in out
    assert "the known function agrees" in out
    assert "note" not in out


def test_an_environment_that_ignores_its_seed_is_named(check):
    faults, _ = check(IgnoresItsSeed)
    assert len(faults) == 1
    assert faults[0].startswith("env.id=Toy-v0: ignores its seed: two episodes with the same seed")
    assert "in one instance (the first observation differs by" in faults[0]


def test_a_state_that_survives_a_reset_is_found_in_a_second_instance(check):
    faults, _ = check(RemembersEpisodes)
    assert "differ in a second instance" in faults[0]


def test_global_generators_are_named(check):
    faults, out = check(DrawsGlobally)
    assert faults == []
    assert "draws from the global generators" in out


def test_rounding_is_no_other_trajectory(register):
    first = Trajectory.of(make_env(register(Point)), SEED, 20)
    close = Trajectory(first.rows * (1 + 1e-9), uses_globals=False)
    row, size = first.first_difference(close)
    assert (row, 0.0 < size < 1e-8) == (0, True)
    other = first.rows.copy()
    other[7] += 1.0
    assert first.first_difference(Trajectory(other, uses_globals=False))[0] == 7
    assert first.first_difference(first) is None


def test_a_slow_environment_takes_fewer_steps():
    assert [num_steps(seconds) for seconds in (1e-4, 0.04, 0.5)] == [100, 25, 10]


def test_an_environment_without_an_end_is_named_with_the_key(check):
    faults, _ = check(Toy)
    assert faults == [
        "env.id=Toy-v0: has no time limit, and no episode ended in 200 random steps; set "
        "env.max_episode_steps=N, such as env.max_episode_steps=200"
    ]
    faults, out = check(Toy, "env.max_episode_steps=50")
    assert faults == []
    assert "truncated 4 episodes in 200 random steps, after 50 steps" in out


def test_a_time_limit_that_terminates_is_noted(check):
    faults, out = check(TerminatesAtALimit)
    assert faults == []
    assert "every episode terminated after exactly 10 steps; if this is a time limit" in out


def test_a_wrong_reward_function_is_named(check):
    faults, out = check(Point, "env.reward=test_check:reward_of_the_state_before")
    assert len(faults) == 1
    assert faults[0].startswith("env.reward: the known function gives ")
    assert "use env.reward=learned" in faults[0]
    assert "transitions differ; largest difference 0." in out


def test_rewards_of_random_steps_are_shown(check):
    _, out = check(lambda: Toy(length=20, reward=2.5))
    assert "reward learned by the model; 2.5 to 2.5 in random steps" in out
    _, out = check(lambda: Toy(length=20, reward=0.0))
    assert "every reward was 0 in 200 random steps" in out


def test_values_that_differ_from_the_interface_are_noted(check):
    faults, out = check(ReturnsOtherTypes)
    assert faults == []
    for text in (
        "observation position[1] is 9, outside of its bounds [-2, 2]",
        "reward of type ndarray",
        "terminated of type int",
        "info of type NoneType",
    ):
        assert text in out


def test_a_missing_renderer_says_what_to_add(check):
    _, out = check(lambda: Toy(length=20))
    assert "the constructor takes no render_mode; add it, and a method render" in out


def test_a_single_simulator_is_noted(check):
    built = []

    def creator(render_mode=None):
        if built and not built[-1].closed:
            raise OSError("address in use")
        built.append(Closing(length=20))
        return built[-1]

    faults, out = check(creator)
    assert faults == []
    assert "a second instance cannot be built" in out


class Closing(Toy):
    closed = False

    def close(self):
        self.closed = True
