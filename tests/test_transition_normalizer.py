"""Normalized inputs and targets by hand; predicted rewards stay in the observed range."""

import math

import pytest
import torch

from mbrl_cli.models.transition_normalizer import TransitionNormalizer
from mbrl_cli.types import Batch

CPU = torch.device("cpu")


@pytest.mark.parametrize(("obs_target", "target"), [("change", 1.0), ("next_obs", 5.0)])
def test_inputs_and_targets_by_hand(make_spec, obs_target, target):
    # obs 1 and 3: mean 2, deviation 1. Change 0 and 4: mean 2, deviation 2. The reward is constant.
    # The next observations 1 and 7 are in the scale of obs: -1 and 5.
    batch = Batch(
        obs=torch.tensor([[1.0], [3.0]]),
        action=torch.tensor([[0.5], [-0.5]]),
        reward=torch.tensor([7.0, 7.0]),
        next_obs=torch.tensor([[1.0], [7.0]]),
        terminated=torch.zeros(2),
    )
    normalizer = TransitionNormalizer(make_spec(), CPU, obs_target)
    normalizer.fit(batch)
    inputs, targets = normalizer.inputs_and_targets(batch)
    assert inputs.tolist() == [[-1.0, 0.5], [1.0, -0.5]]
    assert targets.tolist() == [[-1.0, 0.0], [target, 0.0]]


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
