"""The replay buffer with episodes that are collected in parallel."""

import numpy as np
import pytest
import torch

from mbrl_cli.diagnosis.accuracy.trajectory import stored_trajectories
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.replay.buffer import ReplayBuffer


def add_step(replay, episode, t, length, terminated=True):
    """Store step t of an episode of `length` steps.

    The observation is 10 * episode + t, the action 0.1 (t + 1), the reward t + 1.
    """
    obs = np.array([10.0 * episode + t])
    last = t == length - 1
    replay.add(
        obs, np.array([0.1 * (t + 1)]), t + 1, obs + 1, last and terminated,
        last and not terminated, episode,
    )  # fmt: skip


def add_round(replay, lengths, steps=99):
    """Play one episode of each length, step by step in turns; at most `steps` of each."""
    first = replay.num_episodes
    for t in range(min(max(lengths), steps)):
        for number, length in enumerate(lengths):
            if t < length:
                add_step(replay, first + number, t, length)


def parallel(*rounds, holdout_ratio=0.0, steps=99, capacity=100):
    """Return a replay with these rounds; only `steps` steps of each episode of the last one."""
    replay = ReplayBuffer(capacity, 1, 1, holdout_ratio)
    for number, lengths in enumerate(rounds, start=1):
        add_round(replay, lengths, steps if number == len(rounds) else 99)
    return replay


def restored(replay):
    other = ReplayBuffer(replay.capacity, 1, 1, replay.holdout_ratio)
    other.load_state_dict(replay.state_dict())
    return other


def stored(replay, rows):
    return replay.batch(rows).obs[..., 0].tolist()


def test_rows_are_stored_in_the_order_of_the_steps():
    replay = parallel([3, 1, 2])
    assert stored(replay, np.arange(6)) == [0, 10, 20, 1, 21, 2]
    assert replay.transitions(0, 6)["episode"].tolist() == [0, 1, 2, 0, 2, 0]
    assert replay.num_episodes == 3
    assert replay.transitions_at(np.array([0, 3, 5]))["obs"][:, 0].tolist() == [0, 1, 2]


def test_consecutive_rows_follow_the_episode():
    replay = parallel([3, 1, 2])
    for source in (replay, restored(replay)):
        rows, inside = source.consecutive_rows(np.array([0, 1, 2, 3, 5]), 3)
        expected = [[0, 1, 2], [10], [20, 21], [1, 2], [2]]
        assert [
            stored(source, row[mask]) for row, mask in zip(rows, inside, strict=True)
        ] == expected
        assert inside.tolist() == [
            [True, True, True], [True, False, False], [True, True, False], [True, True, False],
            [True, False, False],
        ]  # fmt: skip
        assert ((rows >= 0) & (rows < source.capacity)).all()


def test_an_episode_in_progress_has_consecutive_rows_up_to_its_last_step():
    replay = parallel([5, 5], steps=2)
    assert replay.num_episodes == 0
    rows, inside = replay.consecutive_rows(np.array([1]), 3)  # the second episode's first row
    assert stored(replay, rows[0][inside[0]]) == [10, 11]
    add_step(replay, 0, 2, 5)
    add_step(replay, 1, 2, 5)
    rows, inside = replay.consecutive_rows(np.array([1]), 3)
    assert stored(replay, rows[0][inside[0]]) == [10, 11, 12]


def test_held_out_windows_lie_inside_one_episode():
    replay = parallel([2, 3, 4], [2, 2, 3], holdout_ratio=0.5)  # episodes 1, 3 and 5 are held out
    for source in (replay, restored(replay)):
        windows = [stored(source, window) for window in source.held_out_windows(2)]
        assert windows == [[10, 11], [11, 12], [30, 31], [50, 51], [51, 52]]
        train, held_out = source.split()
        assert stored(source, held_out) == [10, 11, 12, 30, 50, 31, 51, 52]
        assert stored(source, train) == [0, 20, 1, 21, 22, 23, 40, 41]


def test_the_stream_has_one_episode_after_the_other():
    replay = parallel([2, 1], [1, 2])
    for source in (replay, restored(replay)):
        data = source.sample_sequences(2, 99, torch.Generator().manual_seed(0))
        assert data.obs[:, 0, 0].tolist() == [0, 1, 2, 10, 11, 20, 21, 30, 31, 32]
        assert data.first[:, 0].tolist() == [
            True, False, False, True, False, True, False, True, False, False,
        ]  # fmt: skip
        assert data.reward[:, 1].tolist() == [0, 1, 2, 0, 1, 0, 1, 0, 1, 2]
        assert data.terminated[:, 1].tolist() == [0, 0, 1, 0, 1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("steps", [1, 2, 3, 99])
def test_sequences_are_those_of_a_replay_with_one_episode_after_the_other(steps):
    """Also while episodes are in progress: the other replay has what they have so far."""
    rounds = [[3, 1, 4], [2, 2, 2], [4, 3, 2]]
    mixed = ReplayBuffer(100, 1, 1, 0.2)
    for lengths in rounds[:2]:
        add_round(mixed, lengths)
        mixed.sample_sequences(1, 2, torch.Generator())  # the order is computed between two adds
    add_round(mixed, rounds[2], steps)
    ordered = ReplayBuffer(100, 1, 1, 0.2)
    for episode, length in enumerate([3, 1, 4, 2, 2, 2, 4, 3, 2]):
        taken = min(length, steps) if episode >= 6 else length
        for t in range(taken):
            add_step(ordered, episode, t, taken, terminated=taken == length)
    for source in (mixed, restored(mixed)):
        one, other = (
            replay.sample_sequences(50, 4, torch.Generator().manual_seed(1))
            for replay in (source, ordered)
        )
        for name in ("obs", "action", "reward", "terminated", "first"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert one.restarts == other.restarts
        windows = [
            {tuple(stored(replay, window)) for window in replay.held_out_windows(2)}
            for replay in (source, ordered)
        ]
        assert windows[0] == windows[1]


def test_a_restored_replay_continues_in_the_middle_of_a_round():
    one = parallel([3, 2], [3, 3], steps=1)
    other = restored(one)
    for replay in (one, other):
        for t in (1, 2):
            add_step(replay, 2, t, 3)
            add_step(replay, 3, t, 3)
        add_round(replay, [2, 1])
    samples = [r.sample_sequences(20, 5, torch.Generator().manual_seed(2)) for r in (one, other)]
    assert torch.equal(samples[0].obs, samples[1].obs)
    assert samples[0].obs.max() == 51  # the last observation of episode 5
    rows = np.arange(len(one))
    assert np.array_equal(one.consecutive_rows(rows, 3)[0], other.consecutive_rows(rows, 3)[0])


def test_episodes_without_others_at_the_same_time_need_no_order():
    """A round of one episode, and one whose episodes end with their first step."""
    replay = ReplayBuffer(4, 1, 1, 0.0)
    for length in (2, 3):
        add_round(replay, [length])
    add_round(replay, [1, 1])
    assert stored(replay, replay.split()[0]) == [11, 12, 20, 30]  # a full ring


def test_parallel_episodes_do_not_overwrite_transitions():
    replay = parallel([2, 2], capacity=5)
    add_step(replay, 2, 0, 3)
    with pytest.raises(ValueError, match="capacity above 5"):
        add_step(replay, 3, 0, 3)


def test_a_diagnosis_reads_parallel_episodes_one_after_the_other(make_spec):
    replay = parallel([3, 1, 2])
    read = Transitions.of_replay(replay, make_spec(1, 1))
    assert read.obs[:, 0].tolist() == [0, 1, 2, 10, 20, 21]
    assert read.starts.tolist() == [True, False, False, True, True, False]
    found = stored_trajectories(replay, np.array([0, 2, 3, 4, 5]))  # without the second episode
    assert [part.obs[:, 0].tolist() for part in found] == [[0, 1, 2, 3], [20, 21, 22]]
    assert [part.number for part in found] == [0, 2]
