"""k-step errors and coverage by hand, on episodes that count up by one."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.models.accuracy import measure_accuracy
from mbrl_cli.replay.buffer import ReplayBuffer

SCALE = math.sqrt(8.25)  # standard deviation of 0, 1, ..., 9: (10^2 - 1) / 12


def counting_replay(lengths=(3, 10, 3), reward=0.0):
    """Return episodes that count up by one from 0; only the second is held out.

    The reward is the observation times `reward`.
    """
    replay = ReplayBuffer(100, 1, 1, 0.25)
    for length in lengths:
        for step in range(length):
            obs = np.array([float(step)])
            replay.add(obs, np.zeros(1), reward * step, obs + 1, False, step == length - 1)
    return replay


def count_by(size):
    """Return the transition function of a model that adds `size` at each step."""
    return lambda obs, action: (obs + size, torch.zeros(obs.shape[:2]), torch.ones(obs.shape[:2]))


def test_a_perfect_model_has_no_error_and_the_baseline_is_k_steps(
    make_spec, make_hand_made, generator
):
    model = make_hand_made(
        make_spec(), count_by(1.0), lambda obs, action: (obs + 1, torch.ones_like(obs))
    )
    accuracy = measure_accuracy(model, counting_replay(), 7, generator)
    assert accuracy.errors == {1: 0.0, 5: 0.0, 7: 0.0}
    for k in (1, 5, 7):
        assert accuracy.metrics[f"error_k{k}"] == 0.0
        assert accuracy.metrics[f"baseline_k{k}"] == pytest.approx(k / SCALE)


def test_errors_grow_with_the_number_of_imagined_steps(make_spec, make_hand_made, generator):
    model = make_hand_made(
        make_spec(), count_by(0.75), lambda obs, action: (obs, torch.ones_like(obs))
    )
    metrics = measure_accuracy(model, counting_replay(), 0, generator).metrics
    assert metrics["error_k1"] == pytest.approx(0.25 / SCALE)  # each step is 0.25 too small
    assert metrics["error_k5"] == pytest.approx(1.25 / SCALE)
    assert not any(key.startswith("error_k") and key[7:] not in "15" for key in metrics)


def test_reward_errors_are_those_of_the_last_step_of_each_window(
    make_spec, make_hand_made, generator
):
    model = make_hand_made(  # predicts the reward 0
        make_spec(), count_by(1.0), lambda obs, action: (obs + 1, torch.ones_like(obs))
    )
    metrics = measure_accuracy(model, counting_replay(reward=2.0), 0, generator).metrics
    # After one step the rewards are 0, 2, ..., 18; after five 8, 10, ..., 18.
    assert metrics["reward_error_k1"] == pytest.approx(2.0 * math.sqrt(28.5))
    assert metrics["reward_baseline_k1"] == pytest.approx(2.0 * SCALE)
    assert metrics["reward_error_k5"] == pytest.approx(2.0 * math.sqrt(271 / 6))
    assert metrics["reward_baseline_k5"] == pytest.approx(2.0 * math.sqrt(35 / 12))


def test_coverage_counts_errors_within_one_and_two_predicted_deviations(
    make_spec, make_hand_made, generator
):
    # The one-step errors are 0, 0.5, ..., 4.5 and the predicted standard deviation is 2.
    model = make_hand_made(
        make_spec(), count_by(1.0), lambda obs, action: (1.5 * obs + 1, torch.full_like(obs, 2.0))
    )
    metrics = measure_accuracy(model, counting_replay(), 1, generator).metrics
    assert metrics["coverage_1sigma"] == pytest.approx(0.5)  # up to 2.0: five of ten
    assert metrics["coverage_2sigma"] == pytest.approx(0.9)  # up to 4.0: nine
    assert metrics["coverage_90"] == pytest.approx(0.7)  # up to 3.29: seven


def test_there_is_no_accuracy_without_long_enough_held_out_episodes(
    make_spec, make_hand_made, generator
):
    model = make_hand_made(
        make_spec(), count_by(1.0), lambda obs, action: (obs, torch.ones_like(obs))
    )
    assert measure_accuracy(model, counting_replay((9,)), 3, generator) == ({}, {})
    short = measure_accuracy(model, counting_replay((9, 3, 9)), 3, generator).metrics
    assert "error_k3" in short
    assert "error_k5" not in short
