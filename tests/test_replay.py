"""The replay keeps the last transitions, whole episodes apart; the normalizer their statistics."""

import numpy as np
import pytest
import torch

from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import Normalizer


def add_episode(replay, values, terminated=False):
    """Store an episode whose transitions carry `values` in every field; the last one closes it."""
    for i, value in enumerate(values):
        last = i == len(values) - 1
        replay.add(
            np.array([value]),
            np.array([10 * value]),
            100 * value,
            np.array([value + 0.5]),
            last and terminated,
            last and not terminated,
        )


def stored(replay, rows):
    return replay.batch(rows).obs[..., 0].tolist()


def test_a_batch_holds_what_was_added():
    replay = ReplayBuffer(8, 1, 1, 0.0)
    add_episode(replay, [1, 2, 3], terminated=True)
    batch = replay.batch(np.array([2, 0]))
    assert batch.obs.tolist() == [[3.0], [1.0]]
    assert batch.action.tolist() == [[30.0], [10.0]]
    assert batch.reward.tolist() == [300.0, 100.0]
    assert batch.next_obs.tolist() == [[3.5], [1.5]]
    assert batch.terminated.tolist() == [1.0, 0.0]
    assert {field.dtype for field in batch} == {torch.float32}


def test_a_full_replay_forgets_the_oldest_and_keeps_time_order():
    replay = ReplayBuffer(4, 1, 1, 0.0)
    add_episode(replay, [1, 2, 3, 4, 5, 6])
    assert len(replay) == 4
    train, held_out = replay.split()
    assert stored(replay, train) == [3, 4, 5, 6]
    assert len(held_out) == 0


def test_both_kinds_of_end_close_an_episode_but_only_one_is_a_termination():
    replay = ReplayBuffer(8, 1, 1, 0.0)
    add_episode(replay, [1, 2], terminated=True)
    assert replay.num_episodes == 1
    add_episode(replay, [3, 4], terminated=False)
    assert replay.num_episodes == 2
    replay.add(np.zeros(1), np.zeros(1), 0.0, np.zeros(1), False, False)
    assert replay.num_episodes == 2
    assert replay.batch(replay.split()[0]).terminated.tolist() == [0, 1, 0, 0, 0]


def test_the_second_episode_is_the_first_one_held_out_and_from_its_first_step_on():
    replay = ReplayBuffer(100, 1, 1, 0.15)
    add_episode(replay, [1, 2])
    assert stored(replay, replay.split()[0]) == [1, 2]
    replay.add(np.array([3.0]), np.zeros(1), 0.0, np.zeros(1), False, False)
    train, held_out = replay.split()
    assert (stored(replay, train), stored(replay, held_out)) == ([1, 2], [3])


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.15, 0.3, 1 / 3, 0.5])
def test_the_share_of_held_out_episodes_is_the_ratio(ratio):
    replay = ReplayBuffer(600, 1, 1, ratio)
    for episode in range(600):
        add_episode(replay, [episode])
    held_out = stored(replay, replay.split()[1])
    assert held_out[0] == 1
    # Evenly spread, so at any time the count is right to within one episode.
    for first in range(0, 600, 50):
        count = sum(episode < first + 50 for episode in held_out)
        assert abs(count - ratio * (first + 50)) <= 1.0


def test_a_ratio_of_zero_holds_nothing_out():
    replay = ReplayBuffer(50, 1, 1, 0.0)
    for episode in range(50):
        add_episode(replay, [episode])
    assert len(replay.split()[1]) == 0
    assert len(replay.held_out_windows(1)) == 0


def test_an_episode_is_held_out_as_a_whole_and_for_good():
    replay = ReplayBuffer(64, 1, 1, 0.3)
    rng = np.random.default_rng(0)
    side = {}  # episode -> was it held out when it was first seen?
    for episode in range(60):
        for step in range(length := int(rng.integers(1, 9))):
            obs = np.array([float(episode)])
            replay.add(obs, np.zeros(1), 0.0, obs, False, step == length - 1)
            for held_out, rows in enumerate(replay.split()):
                for seen in set(stored(replay, rows)):
                    assert side.setdefault(seen, held_out) == held_out
    assert len(side) == 60


def test_held_out_windows_are_all_runs_inside_one_held_out_episode():
    replay = ReplayBuffer(100, 1, 1, 0.5)  # every second episode, from the second on
    for first, last in ((0, 4), (10, 14), (20, 23), (30, 32)):
        add_episode(replay, range(first, last))
    windows = replay.held_out_windows(3)
    assert [stored(replay, window) for window in windows] == [[10, 11, 12], [11, 12, 13]]
    assert stored(replay, replay.held_out_windows(1)[:, 0]) == [10, 11, 12, 13, 30, 31]
    assert len(replay.held_out_windows(5)) == 0
    assert len(replay.held_out_windows(500)) == 0


def test_held_out_windows_follow_time_over_the_seam_of_the_ring():
    replay = ReplayBuffer(6, 1, 1, 0.5)
    add_episode(replay, [0, 1, 2])
    add_episode(replay, [10, 11, 12, 13, 14])  # rows 3, 4, 5, 0, 1; row 2 still holds the 2
    windows = [stored(replay, window) for window in replay.held_out_windows(3)]
    assert windows == [[10, 11, 12], [11, 12, 13], [12, 13, 14]]
    add_episode(replay, [20])  # row 2
    add_episode(replay, [30, 31])  # rows 3, 4: in time order 12 13 14 | 20 | 30 31
    windows = [stored(replay, window) for window in replay.held_out_windows(2)]
    assert windows == [[12, 13], [13, 14], [30, 31]]


@pytest.mark.parametrize("added", [3, 11])  # before and after the ring is full
def test_a_restored_replay_goes_on_as_the_saved_one(added):
    saved, restored = (ReplayBuffer(8, 1, 1, 0.5) for _ in range(2))
    add_episode(saved, range(added))
    saved.add(np.array([50.0]), np.zeros(1), 0.0, np.zeros(1), False, False)
    restored.load_state_dict(saved.state_dict())
    for replay in (saved, restored):
        add_episode(replay, range(51, 54), terminated=True)
        add_episode(replay, [60])
    for a, b in zip(saved.split(), restored.split(), strict=True):
        assert np.array_equal(a, b)
        for left, right in zip(saved.batch(a), restored.batch(b), strict=True):
            assert torch.equal(left, right)
    assert restored.num_episodes == saved.num_episodes == 3


def test_a_saved_replay_does_not_change_with_the_live_one():
    replay = ReplayBuffer(2, 1, 1, 0.0)
    add_episode(replay, [1, 2])
    state = replay.state_dict()
    add_episode(replay, [3, 4])
    assert state["obs"][:, 0].tolist() == [1, 2]


# --- normalizer -------------------------------------------------------------------------------


def test_the_normalizer_shifts_to_mean_zero_and_scales_to_deviation_one():
    normalizer = Normalizer(1)
    normalizer.fit(torch.tensor([[1.0], [3.0], [1.0], [3.0]]))  # mean 2, deviation 1
    assert normalizer(torch.tensor([[5.0], [2.0]])).tolist() == [[3.0], [0.0]]


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.0, 12345.678])
def test_a_constant_keeps_the_scale_one(constant):
    x = torch.full((1000, 2), constant)
    x[::2, 1] += 2.0
    normalizer = Normalizer(2)
    normalizer.fit(x)
    assert normalizer.std.tolist() == pytest.approx([1.0, 1.0], abs=1e-3)
    assert normalizer.std[0] == 1.0
    assert normalizer(x)[:, 0].abs().max() <= 1e-6 * (1.0 + abs(constant))


def test_a_small_variation_is_no_constant():
    normalizer = Normalizer(1)
    normalizer.fit(torch.tensor([[1.0], [1.002]]))
    assert float(normalizer.std) == pytest.approx(0.001, rel=1e-3)


def test_a_restored_normalizer_keeps_its_statistics():
    saved, restored = Normalizer(2), Normalizer(2)
    saved.fit(torch.tensor([[1.0, 5.0], [4.0, 5.0]]))
    restored.load_state_dict(saved.state_dict())
    x = torch.tensor([[0.3, 5.5]])
    assert torch.equal(saved(x), restored(x))
