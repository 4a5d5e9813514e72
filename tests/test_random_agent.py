"""The random agent: uniform actions, which may be held."""

import numpy as np
import pytest

from mbrl_cli.agents.random import Random, random_actions


def test_random_continuous_actions_are_uniform_between_the_bounds(make_action, generator):
    actions = random_actions(make_action(3), 20_000, generator)
    assert np.abs(actions).max() <= 1.0
    # Standard errors: 0.004 of the mean, 0.002 of the deviation 1 / sqrt(3)
    assert actions.mean(0).tolist() == pytest.approx([0.0] * 3, abs=0.02)
    assert actions.std(0).tolist() == pytest.approx([3**-0.5] * 3, abs=0.01)


def test_random_discrete_actions_are_uniform_in_every_block(make_action, generator):
    actions = random_actions(make_action((4, 2)), 20_000, generator)
    assert set(np.unique(actions)) == {0.0, 1.0}
    assert (actions[:, :4].sum(1) == 1).all()
    assert (actions[:, 4:].sum(1) == 1).all()
    assert actions.mean(0).tolist() == pytest.approx([0.25] * 4 + [0.5] * 2, abs=0.015)  # +- 0.0035
    first_of_both = actions[:, 0] * actions[:, 4]  # the blocks are independent: 1/4 * 1/2
    assert first_of_both.mean() == pytest.approx(0.125, abs=0.01)


def test_the_random_agent_acts_in_all_environments_and_predicts_nothing(make_spec, generator):
    policy = Random(make_spec(1, (3,))).policy([None] * 5, True, generator)
    policy.reset()
    decision = policy.act(np.zeros((5, 1), np.float32))
    assert decision.action.sum(1).tolist() == [1.0] * 5
    assert decision.predicted_return is None
    policy.retain(np.array([0, 3]))
    assert len(policy.act(np.zeros((2, 1), np.float32)).action) == 2
    assert Random(make_spec()).update(None, 100) == {}


def test_random_actions_are_held_from_the_start_of_an_episode_on(make_spec, generator):
    policy = Random(make_spec(1, 1), hold=3).policy([None] * 4, True, generator)
    policy.reset()
    actions = [policy.act(np.zeros((4, 1), np.float32)).action for _ in range(5)]  # [4, 1] each
    assert (actions[0] == actions[1]).all()
    assert (actions[0] == actions[2]).all()
    assert (actions[0] != actions[3]).all()
    policy.retain(np.array([1, 3]))
    rest = policy.act(np.zeros((2, 1), np.float32)).action
    assert (rest == actions[4][[1, 3]]).all()
    policy.reset()
    assert (policy.act(np.zeros((2, 1), np.float32)).action != rest).all()
