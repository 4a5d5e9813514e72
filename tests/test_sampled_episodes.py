"""Sequences that are sampled from episodes, and their n-step returns."""

import numpy as np
import pytest
import torch

from mbrl_cli.models.episodes import sample_episodes

CPU = torch.device("cpu")


def test_a_sequence_ends_with_its_episode(make_spec, counting_replay, generator):
    replay = counting_replay([4, 2])  # obs 0 to 3, then 10 and 11; the last steps terminate
    data, _ = sample_episodes(replay, 50, 3, 1, 0.5, make_spec(), generator, CPU)
    for column in range(50):
        start = float(data.first_obs[column, 0])
        episode, step = divmod(start, 10.0)
        left = (4 if episode == 0 else 2) - int(step)
        assert data.mask[:, column].tolist() == [float(t < left) for t in range(3)]
        for t in range(min(left, 3)):
            assert float(data.next_obs[t, column, 0]) == start + t + 1
            assert float(data.reward[t, column]) == step + t + 1
            assert float(data.terminated[t, column]) == float(t == left - 1)
    assert {float(obs) for obs in data.first_obs[:, 0]} == {0.0, 1.0, 2.0, 3.0, 10.0, 11.0}


@pytest.mark.parametrize("td_steps", [1, 3])
def test_a_return_covers_some_steps_of_its_episode(make_spec, counting_replay, generator, td_steps):
    replay = counting_replay([4, 2])  # rewards 1 to 4, then 1 and 2; the last steps terminate
    replay.add(*(np.array([x]) for x in (20.0, 0.0)), 7.0, np.array([21.0]), False, True)
    data, returns = sample_episodes(replay, 80, 3, td_steps, 0.5, make_spec(), generator, CPU)
    starts = torch.cat([data.first_obs[None], data.next_obs[:-1]])  # [H, n, O]
    seen = set()
    for step, column in data.mask.nonzero().tolist():
        start = float(starts[step, column, 0])
        episode, first = divmod(start, 10.0)
        length = (4, 2, 1)[int(episode)]
        rewards = [7.0] if episode == 2 else [first + k + 1 for k in range(length - int(first))]
        count = min(len(rewards), td_steps)
        expected = sum(0.5**k * reward for k, reward in enumerate(rewards[:count]))
        terminates = episode < 2 and count == len(rewards)
        assert float(returns.rewards[step, column]) == expected
        assert float(returns.discount[step, column]) == (0.0 if terminates else 0.5**count)
        assert float(returns.last_obs[step, column, 0]) == start + count
        seen.add(start)
    assert seen == {0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 20.0}


def test_a_return_ends_before_an_action_that_the_policy_would_not_take(
    make_spec, counting_replay, generator
):
    replay = counting_replay([4])  # rewards 1 to 4, actions 0.1 to 0.4

    def is_own(obs, action):
        stored = action[:, 0] > 0.0  # the other rows lie behind the episode
        assert torch.allclose(action[stored, 0], 0.1 * (obs[stored, 0] + 1.0))
        return (obs[:, 0] != 2.0).float()  # the third action is not taken

    data, returns = sample_episodes(replay, 40, 1, 3, 0.5, make_spec(), generator, CPU, is_own)
    expected = {0.0: (1 + 2 / 2, 0.25, 2.0), 1.0: (2.0, 0.5, 2.0), 2.0: (3 + 4 / 2, 0.0, 4.0)}
    seen = set()
    for column in range(40):
        start = float(data.first_obs[column, 0])
        parts = tuple(float(field[0, column].squeeze()) for field in returns)
        assert parts == expected.get(start, (4.0, 0.0, 4.0))
        seen.add(start)
    assert seen == {0.0, 1.0, 2.0, 3.0}
