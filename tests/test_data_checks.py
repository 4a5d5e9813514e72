"""Data checks of a diagnosis: planted faults are found, correct data are not accused."""

import math

import gymnasium
import numpy as np
import pytest
import torch

from mbrl_cli.api.run import Run
from mbrl_cli.diagnosis.data_check_section import check_transitions, data_checks
from mbrl_cli.diagnosis.data_checks.entries import action_without_effect, constant_and_duplicated
from mbrl_cli.diagnosis.data_checks.held_out import held_out_residuals
from mbrl_cli.diagnosis.data_checks.resets import crosses_reset, p_equal_starts
from mbrl_cli.diagnosis.data_checks.reward_inputs import hidden_reward
from mbrl_cli.diagnosis.data_checks.saturation import at_bound
from mbrl_cli.diagnosis.data_checks.shifted import shifted
from mbrl_cli.diagnosis.data_checks.significance import binomial_tail, p_above_zero
from mbrl_cli.diagnosis.data_checks.stationarity import non_stationary
from mbrl_cli.diagnosis.data_checks.time_limit import (
    p_of_terminations,
    time_limit_as_termination,
)
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.envs.env import Env
from mbrl_cli.types import ActionSpec, EnvSpec

EPISODES, LENGTH = 20, 40


def collect(action_lag=0, gravity=0.0, bonus=None, terminate=False, seed=0):
    """Return transitions of a point with position and velocity, pushed by two random actions.

    The second action entry has no effect. `gravity` is added to the velocity in the second half of
    the episodes; `bonus(step, episode)` is added to the reward.
    """
    rng = np.random.default_rng(seed)
    columns = {name: [] for name in ("obs", "action", "reward", "next_obs", "terminated")}
    for episode in range(EPISODES):
        obs = rng.normal(size=2)
        actions = rng.uniform(-1, 1, (LENGTH + 1, 2))
        for step in range(LENGTH):
            push = actions[step + 1 - action_lag][0]
            velocity = 0.9 * obs[1] + 0.3 * push + gravity * (episode >= EPISODES // 2)
            velocity += 0.01 * rng.normal()
            next_obs = np.array([0.9 * obs[0] + 0.1 * velocity, velocity])
            reward = -(next_obs[0] ** 2) + 0.01 * rng.normal()
            if bonus is not None:
                reward += bonus(step, episode)
            last = step == LENGTH - 1
            row = (obs, actions[step + 1], reward, next_obs, terminate and last)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            obs = next_obs
    spec = EnvSpec("Point-v0", 2, (False, False), ActionSpec("continuous", 2), LENGTH)
    arrays = {name: np.array(column) for name, column in columns.items()}
    return Transitions(spec, episode=np.repeat(np.arange(EPISODES), LENGTH), **arrays)


def problems(result):
    return {finding.fault for finding in result.findings if finding.severity == "problem"}


def rng():
    return np.random.default_rng(0)


def test_correct_data_are_not_accused():
    section = check_transitions(collect(), None, rng())
    assert not problems(section)
    assert {"shifted_actions", "time_limit_as_termination"} <= {f.fault for f in section.findings}


def test_late_actions_are_found():
    result = shifted(collect(action_lag=1), None)
    assert problems(result) == {"shifted_actions"}
    assert "one step late" in result.findings[0].text


def test_observations_that_stand_still_at_each_start_are_late():
    data = collect()
    first = np.maximum(np.arange(len(data)) - data.step, 0)
    obs = data.obs[np.maximum(np.arange(len(data)) - 1, first)]
    late = Transitions(
        data.spec, obs, data.action, data.reward, data.obs, data.terminated, data.episode
    )
    assert problems(shifted(late, None)) == {"shifted_observations"}


def test_an_action_entry_without_effect_is_noted():
    result = action_without_effect(collect())
    assert [finding.fault for finding in result.findings] == ["action_without_effect"]
    assert result.findings[0].text.startswith("entry 1 of the action")


def test_a_fixed_length_of_termination_is_a_time_limit():
    result = time_limit_as_termination(collect(terminate=True))
    assert problems(result) == {"time_limit_as_termination"}
    assert not problems(time_limit_as_termination(collect()))


def test_probability_of_terminations_at_one_length():
    # Three episodes take the steps 1 to 4, which are 12 steps, and none ends there, so the rate is
    # 0.5 / 13; all three terminate at step 5.
    length, terminated = np.array([5, 5, 5]), np.array([True, True, True])
    assert p_of_terminations(length, terminated, 5) == pytest.approx((0.5 / 13) ** 3)


def test_a_last_observation_of_the_next_episode():
    data = collect()
    next_obs = data.next_obs.copy()
    ends = np.flatnonzero(data.ends)[:-1]
    next_obs[ends] = data.obs[ends + 1]
    fields = data.spec, data.obs, data.action, data.reward, next_obs, data.terminated, data.episode
    crossed = Transitions(*fields)
    assert problems(crosses_reset(crossed)) == {"crosses_reset"}
    fraction, p_value = p_equal_starts(crossed)
    # Nearly all start states differ: every equality has a probability of at most 0.05.
    assert fraction == 1.0
    assert p_value < 1e-20
    assert not problems(crosses_reset(data))


@pytest.mark.parametrize(
    "bonus",
    [
        lambda step, episode: 2.0 * math.sin(2.0 * math.pi * step / 10),
        lambda step, episode: 2.0 * math.sin(5.0 * episode),
    ],
    ids=["clock", "episode"],
)
def test_hidden_rewards_are_found(bonus):
    assert problems(hidden_reward(collect(bonus=bonus), rng())) == {"hidden_reward"}


def test_changed_dynamics_are_found():
    assert problems(non_stationary(collect(gravity=0.1), rng())) == {"non_stationary"}


def test_constant_and_duplicated_entries_are_noted():
    data = collect()
    for column, fault in ((np.zeros(len(data)), "constant_entry"), (None, "duplicated_entry")):
        changed = {}
        for name in ("obs", "next_obs"):
            values = getattr(data, name)
            changed[name] = np.stack([values[:, 0], values[:, 0] if column is None else column], 1)
        fields = data.action, data.reward, changed["next_obs"], data.terminated, data.episode
        result = constant_and_duplicated(Transitions(data.spec, changed["obs"], *fields))
        assert [finding.fault for finding in result.findings] == [fault]


def test_values_at_a_bound():
    values = np.linspace(-1.0, 1.0, 101).clip(-1.0, 0.5)
    # 0.50, 0.52, ... 1.00 are 26 values, all 0.5 after the cut.
    assert at_bound(values) == (26 / 101, 0.5)
    assert at_bound(np.tile([0.0, 1.0], 100)) == (0.0, 0.0)  # a flag


def test_ridge_regression_recovers_a_line_on_rows_it_has_not_seen():
    x = np.linspace(-1.0, 1.0, 50)[:, None]
    residual = held_out_residuals(x, 3.0 * x + 2.0, np.arange(50) % 5)
    assert np.abs(residual).max() < 1e-5


def test_significance():
    # 8 units of one row each with mean 1 and standard deviation 1: t = sqrt(8) with 7 degrees.
    values = 1.0 + np.array([-1, 1] * 4) * math.sqrt(7 / 8)
    assert p_above_zero(values, np.arange(8)) == pytest.approx(0.0127, abs=2e-4)  # table of t
    assert p_above_zero(values[:7], np.arange(7)) == 1.0  # too few units
    assert binomial_tail(2, 3, 0.5) == pytest.approx(0.5)


class Deaf(gymnasium.Env):
    """A random walk that ignores its action."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.zeros(2, np.float32)
        return self.state, {}

    def step(self, action):
        self.state = self.state + self.np_random.normal(size=2).astype(np.float32)
        return self.state, 0.0, False, False, {}


def test_an_environment_that_ignores_its_action_is_found():
    section = check_transitions(collect(), lambda: Env(Deaf()), rng())
    assert problems(section) == {"ignores_action"}


def test_the_checks_of_a_run_folder(finished_random_run):
    section = data_checks(DiagnosedRun(Run(finished_random_run)), torch.Generator().manual_seed(0))
    assert section.name == "data"
    assert not problems(section)
    # Up to 60 steps in episodes of 10: too few for models of the reward.
    assert any(line.startswith("hidden rewards: ") for line in section.skipped)
