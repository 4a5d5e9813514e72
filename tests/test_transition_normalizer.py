"""Normalized inputs and targets by hand; predicted rewards stay in the observed range."""

import math

import pytest
import torch

from mbrl_cli.models.transition_normalizer import TransitionNormalizer
from mbrl_cli.types import Batch

CPU = torch.device("cpu")


def test_inputs_and_targets_by_hand(make_spec):
    # obs 1 and 3: mean 2, deviation 1. Change 0 and 4: mean 2, deviation 2. The reward is constant.
    batch = Batch(
        obs=torch.tensor([[1.0], [3.0]]),
        action=torch.tensor([[0.5], [-0.5]]),
        reward=torch.tensor([7.0, 7.0]),
        next_obs=torch.tensor([[1.0], [7.0]]),
        terminated=torch.zeros(2),
    )
    normalizer = TransitionNormalizer(make_spec(), CPU)
    normalizer.fit(batch)
    inputs, targets = normalizer.inputs_and_targets(batch)
    assert inputs.tolist() == [[-1.0, 0.5], [1.0, -0.5]]
    assert targets.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_predicted_rewards_are_clipped_to_the_observed_range(make_spec):
    zeros = torch.zeros(3, 1)
    normalizer = TransitionNormalizer(make_spec(), CPU)
    predicted = torch.tensor([-9.0, 0.5, 9.0, math.inf, math.nan])
    assert normalizer.clip_reward(predicted).tolist()[:3] == [-9.0, 0.5, 9.0]  # no data yet
    normalizer.fit(Batch(zeros, zeros, torch.tensor([-1.0, 0.0, 2.0]), zeros, torch.zeros(3)))
    restored = TransitionNormalizer(make_spec(), CPU)
    restored.load_state_dict(normalizer.state_dict())
    clipped = restored.clip_reward(predicted).tolist()
    assert clipped == pytest.approx([-1.0, 0.5, 2.0, math.nan, math.nan], nan_ok=True)
