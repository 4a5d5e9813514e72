"""Batches with n-step returns, against numbers derived by hand."""

import numpy as np
import pytest
import torch

from mbrl_cli.agents.td_batch import TDBatch, n_step_batch
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")


def two_episodes():
    """Return a replay: observations 0, 1, 2 and a termination; then 10, 11 and a time limit."""
    replay = ReplayBuffer(10, 1, 1)
    for obs, reward, terminated, truncated in [
        (0.0, 1.0, False, False),
        (1.0, 2.0, False, False),
        (2.0, 4.0, True, False),
        (10.0, 8.0, False, False),
        (11.0, 16.0, False, True),
        (20.0, 32.0, False, False),
    ]:
        here, after = np.float32([obs]), np.float32([obs + 1.0])
        replay.add(here, -here, reward, after, terminated, truncated)
    return replay


def test_a_return_ends_at_a_termination_at_a_time_limit_and_at_the_newest_transition():
    rows = np.array([[0, 1, 2], [3, 4, 5]])
    batch = n_step_batch(two_episodes(), rows, 2, 0.5, CPU)
    assert batch.obs[..., 0].tolist() == [[0, 1, 2], [10, 11, 20]]
    assert batch.action[..., 0].tolist() == [[0, -1, -2], [-10, -11, -20]]
    # 1 + 2 / 2, 2 + 4 / 2, 4; 8 + 16 / 2, 16, 32
    assert batch.reward.tolist() == [[2, 4, 4], [16, 16, 32]]
    # no value after the termination; that of the time limit and that of the newest transition count
    assert batch.discount.tolist() == [[0.25, 0, 0], [0.25, 0.5, 0.5]]
    assert batch.next_obs[..., 0].tolist() == [[2, 3, 3], [12, 12, 21]]


@pytest.mark.parametrize("td_steps", [1, 3])
def test_a_row_has_the_same_return_in_every_batch(td_steps):
    replay = two_episodes()
    alone = n_step_batch(replay, np.array([1]), td_steps, 0.5, CPU)
    many = n_step_batch(replay, np.array([[3, 1], [1, 0]]), td_steps, 0.5, CPU)
    for one, field in zip(alone, many, strict=True):
        assert torch.equal(one[0], field[0, 1])
        assert torch.equal(one[0], field[1, 0])


def test_one_reward_gives_the_transitions_themselves():
    replay, rows = two_episodes(), np.array([[0, 2, 4]])
    batch = n_step_batch(replay, rows, 1, 0.5, CPU)
    expected = TDBatch.of_transitions(replay.batch(rows), 0.5)
    assert batch.discount.tolist() == [[0.5, 0, 0.5]]
    for field, same in zip(batch, expected, strict=True):
        assert torch.equal(field, same)
