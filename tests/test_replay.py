"""The replay buffer (order, held-out episodes, sequences) and the normalizer."""

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


def test_a_batch_has_the_values_that_were_added():
    replay = ReplayBuffer(8, 1, 1, 0.0)
    add_episode(replay, [1, 2, 3], terminated=True)
    batch = replay.batch(np.array([2, 0]))
    assert batch.obs.tolist() == [[3.0], [1.0]]
    assert batch.action.tolist() == [[30.0], [10.0]]
    assert batch.reward.tolist() == [300.0, 100.0]
    assert batch.next_obs.tolist() == [[3.5], [1.5]]
    assert batch.terminated.tolist() == [1.0, 0.0]
    assert {field.dtype for field in batch} == {torch.float32}


def test_a_full_replay_drops_the_oldest_and_keeps_time_order():
    replay = ReplayBuffer(4, 1, 1, 0.0)
    add_episode(replay, [1, 2, 3, 4, 5, 6])
    assert len(replay) == 4
    train, held_out = replay.split()
    assert stored(replay, train) == [3, 4, 5, 6]
    assert len(held_out) == 0


def test_truncation_ends_an_episode_but_is_no_termination():
    replay = ReplayBuffer(8, 1, 1, 0.0)
    add_episode(replay, [1, 2], terminated=True)
    assert replay.num_episodes == 1
    add_episode(replay, [3, 4], terminated=False)
    assert replay.num_episodes == 2
    replay.add(np.zeros(1), np.zeros(1), 0.0, np.zeros(1), False, False)
    assert replay.num_episodes == 2
    assert replay.batch(replay.split()[0]).terminated.tolist() == [0, 1, 0, 0, 0]


def test_the_second_episode_is_held_out_from_its_first_step_on():
    replay = ReplayBuffer(100, 1, 1, 0.15)
    add_episode(replay, [1, 2])
    assert stored(replay, replay.split()[0]) == [1, 2]
    replay.add(np.array([3.0]), np.zeros(1), 0.0, np.zeros(1), False, False)
    train, held_out = replay.split()
    assert (stored(replay, train), stored(replay, held_out)) == ([1, 2], [3])


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.15, 0.3, 1 / 3, 0.5])
def test_the_fraction_of_held_out_episodes_is_the_ratio(ratio):
    replay = ReplayBuffer(600, 1, 1, ratio)
    for episode in range(600):
        add_episode(replay, [episode])
    held_out = stored(replay, replay.split()[1])
    assert held_out[0] == 1
    # They are evenly spread: at any time their number is right to within one episode.
    for first in range(0, 600, 50):
        count = sum(episode < first + 50 for episode in held_out)
        assert abs(count - ratio * (first + 50)) <= 1.0


def test_with_a_ratio_of_zero_no_episode_is_held_out():
    replay = ReplayBuffer(50, 1, 1, 0.0)
    for episode in range(50):
        add_episode(replay, [episode])
    assert len(replay.split()[1]) == 0
    assert len(replay.held_out_windows(1)) == 0


def test_all_steps_of_an_episode_are_on_the_same_side_at_all_times():
    replay = ReplayBuffer(64, 1, 1, 0.3)
    rng = np.random.default_rng(0)
    side = {}  # episode -> whether it was held out when its first step was added
    for episode in range(60):
        for step in range(length := int(rng.integers(1, 9))):
            obs = np.array([float(episode)])
            replay.add(obs, np.zeros(1), 0.0, obs, False, step == length - 1)
            for held_out, rows in enumerate(replay.split()):
                for seen in set(stored(replay, rows)):
                    assert side.setdefault(seen, held_out) == held_out
    assert len(side) == 60


def test_held_out_windows_are_all_windows_inside_held_out_episodes():
    replay = ReplayBuffer(100, 1, 1, 0.5)  # every second episode, from the second on
    for first, last in ((0, 4), (10, 14), (20, 23), (30, 32)):
        add_episode(replay, range(first, last))
    windows = replay.held_out_windows(3)
    assert [stored(replay, window) for window in windows] == [[10, 11, 12], [11, 12, 13]]
    assert stored(replay, replay.held_out_windows(1)[:, 0]) == [10, 11, 12, 13, 30, 31]
    assert len(replay.held_out_windows(5)) == 0
    assert len(replay.held_out_windows(500)) == 0


def test_held_out_windows_are_in_time_order_where_the_ring_wraps():
    replay = ReplayBuffer(6, 1, 1, 0.5)
    add_episode(replay, [0, 1, 2])
    add_episode(replay, [10, 11, 12, 13, 14])  # rows 3, 4, 5, 0, 1; row 2 still holds the 2
    windows = [stored(replay, window) for window in replay.held_out_windows(3)]
    assert windows == [[10, 11, 12], [11, 12, 13], [12, 13, 14]]
    add_episode(replay, [20])  # row 2
    add_episode(replay, [30, 31])  # rows 3, 4: in time order 12 13 14 | 20 | 30 31
    windows = [stored(replay, window) for window in replay.held_out_windows(2)]
    assert windows == [[12, 13], [13, 14], [30, 31]]


@pytest.mark.parametrize("added", [3, 11])  # with and without a full ring
def test_a_restored_replay_continues_like_the_saved_one(added):
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


def test_a_saved_state_does_not_change_with_the_replay():
    replay = ReplayBuffer(2, 1, 1, 0.0)
    add_episode(replay, [1, 2])
    state = replay.state_dict()
    add_episode(replay, [3, 4])
    assert state["obs"][:, 0].tolist() == [1, 2]


def restored(replay):
    other = ReplayBuffer(replay.capacity, 1, 1, replay.holdout_ratio)
    other.load_state_dict(replay.state_dict())
    return other


def test_the_stream_has_every_observation_with_the_action_and_reward_before_it(
    counting_replay, generator
):
    """Two episodes of 2 and 3 steps have 3 + 4 observations; one window contains them all."""
    replay = counting_replay([2, 3])
    for source, length in ((replay, 99), (restored(replay), 7)):
        data = source.sample_sequences(2, length, generator)
        assert data.obs[:, 0, 0].tolist() == [0, 1, 2, 10, 11, 12, 13]
        assert data.action[:, 1, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0, 0.1, 0.2, 0.3])
        assert data.reward[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 3]
        assert data.terminated[:, 0].tolist() == [0, 0, 1, 0, 0, 0, 1]
        assert data.first[:, 0].tolist() == [True, False, False, True, False, False, False]
        assert data.restarts == [True, False, False, True, False, False, False]


def test_sequences_start_everywhere_and_skip_held_out_episodes(counting_replay, generator):
    # The second of three episodes is held out.
    replay = counting_replay([3, 3, 2], terminated=False, holdout_ratio=0.2)
    for source in (replay, restored(replay)):
        data = source.sample_sequences(200, 2, generator)
        pairs = {tuple(pair) for pair in data.obs[..., 0].T.tolist()}
        assert pairs == {(0, 1), (1, 2), (2, 3), (3, 20), (20, 21), (21, 22)}
        assert data.terminated.sum() == 0.0


def test_sequences_of_a_full_replay_have_no_dropped_observation():
    replay = ReplayBuffer(4, 1, 1, 0.0)
    for t in range(6):
        replay.add(np.array([t]), np.array([0.0]), 0.0, np.array([t + 1]), False, False)
    for source in (replay, restored(replay)):
        data = source.sample_sequences(50, 2, torch.Generator().manual_seed(0))
        assert set(data.obs[0, :, 0].tolist()) == {4.0, 5.0}
        assert torch.equal(data.obs[1], data.obs[0] + 1.0)


def test_the_normalizer_shifts_to_mean_zero_and_scales_to_standard_deviation_one():
    normalizer = Normalizer(1)
    normalizer.fit(torch.tensor([[1.0], [3.0], [1.0], [3.0]]))  # mean 2, deviation 1
    assert normalizer(torch.tensor([[5.0], [2.0]])).tolist() == [[3.0], [0.0]]


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.0, 12345.678])
def test_a_constant_entry_is_divided_by_its_size_and_restored_as_it_was(constant):
    x = torch.full((1000, 2), constant)
    x[::2, 1] += 2.0
    normalizer = Normalizer(2)
    normalizer.fit(x)
    assert normalizer.std.tolist() == pytest.approx([abs(constant) or 1.0, 1.0], rel=1e-3)
    assert normalizer(x)[:, 0].abs().max() <= 1e-6
    assert normalizer.restore(torch.full((2,), 9.0))[0] == pytest.approx(constant)
    other = normalizer(torch.tensor([constant + 1e9, constant + 1.0]))
    assert other.tolist() == pytest.approx([1.0, 0.0], abs=1e-2)  # clipped, and scaled


def test_an_entry_with_a_small_variation_is_scaled():
    normalizer = Normalizer(1)
    normalizer.fit(torch.tensor([[1.0], [1.002]]))
    assert float(normalizer.std) == pytest.approx(0.001, rel=1e-3)


def test_a_restored_normalizer_keeps_its_statistics():
    saved, restored = Normalizer(2), Normalizer(2)
    saved.fit(torch.tensor([[1.0, 5.0], [4.0, 5.0]]))
    restored.load_state_dict(saved.state_dict())
    x = torch.tensor([[0.3, 5.5]])
    assert torch.equal(saved(x), restored(x))
