"""The unit of rewards for networks that predict rewards or values."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.agents.sac import SAC
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.reward_scale import MAX_DRIFT, RewardScale

CPU = torch.device("cpu")


@pytest.fixture
def replay():
    """Return an empty replay with a method `pay` that adds transitions with these rewards."""

    class Paid(ReplayBuffer):
        def pay(self, *rewards):
            for reward in rewards:
                obs = np.full(2, 0.1 * len(self), np.float32)
                self.add(obs, np.zeros(1, np.float32), reward, obs + 0.1, False, False)

    return Paid(100, 2, 1)


def test_the_scale_is_the_root_mean_square_of_the_rewards_that_are_not_zero(replay):
    scale = RewardScale()
    replay.pay(0.0, 0.0)
    assert scale.refit(replay) == 1.0
    assert not scale.is_set
    replay.pay(3.0, 0.0, -4.0)
    assert scale.refit(replay) == 1.0  # nothing was learned in another unit
    assert float(scale.scale) == pytest.approx(math.sqrt(12.5))
    assert scale.restore(scale.normalize(torch.tensor([5.0]))).item() == pytest.approx(5.0)


def test_the_scale_is_constant_until_the_typical_reward_has_changed_fourfold(replay):
    scale = RewardScale()
    replay.pay(1.0, 1.0)
    scale.refit(replay)
    replay.pay(7.0)  # root mean square: sqrt(51 / 3) = 4.1, beyond; with 6 it is 3.6
    factor = scale.refit(replay)
    assert 1.0 / factor == float(scale.scale) == pytest.approx(math.sqrt(17.0))
    assert scale.refit(replay) == 1.0
    replay.pay(*[4.0] * 10)
    assert scale.refit(replay) == 1.0
    replay.pay(*[0.01] * 80)  # sqrt(211 / 93) = 1.5: within the factor
    assert scale.refit(replay) == 1.0
    assert float(scale.scale) / MAX_DRIFT > 1.0


def test_a_larger_drift_keeps_the_scale_longer(replay):
    scale = RewardScale(max_drift=100.0)
    replay.pay(1.0)
    scale.refit(replay)
    replay.pay(120.0)  # root mean square: sqrt(14401 / 2) = 84.9
    assert scale.refit(replay) == 1.0
    replay.pay(150.0)  # sqrt(36901 / 3) = 110.9
    assert 1.0 / scale.refit(replay) == pytest.approx(110.9, rel=1e-3)


def test_the_scale_is_the_same_in_every_unit(replay):
    scales = {}
    for unit in (2.0**-100, 1e-8, 1.0, 1e8, 2.0**100):
        other, scale = ReplayBuffer(10, 1, 1), RewardScale()
        for reward in (0.3, -0.7, 0.1):
            zero = np.zeros(1, np.float32)
            other.add(zero, zero, unit * reward, zero, False, False)
        scale.refit(other)
        scales[unit] = float(scale.scale) / unit
    assert scales[2.0**-100] == scales[1.0] == scales[2.0**100]
    assert scales[1e-8] == pytest.approx(scales[1.0], rel=1e-6)
    assert scales[1e8] == pytest.approx(scales[1.0], rel=1e-6)


def test_a_state_continues_with_the_transitions_that_it_has_not_seen(replay):
    scale, other = RewardScale(), RewardScale()
    replay.pay(1.0, 2.0)
    scale.refit(replay)
    other.load_state_dict(scale.state_dict())
    replay.pay(100.0)
    assert other.refit(replay) == scale.refit(replay) < 1.0
    assert other.state_dict() == scale.state_dict()


def test_the_data_of_another_run_are_counted_from_its_start(replay):
    """A model from another run keeps its scale while the new rewards are similar."""
    scale = RewardScale()
    replay.pay(*[2.0] * 50)
    scale.refit(replay)
    other = ReplayBuffer(100, 2, 1)
    zero = np.zeros(2, np.float32)
    for _ in range(20):
        other.add(zero, zero[:1], 100.0, zero, False, False)
    assert scale.refit(other) == 2.0 / 100.0
    assert scale.count == scale.seen == 20


@pytest.mark.parametrize("actions", [1, (3,)], ids=["continuous", "discrete"])
def test_values_and_temperature_of_sac_keep_their_unit_when_the_scale_changes(
    replay, make_spec, actions
):
    agent = SAC(make_spec(2, actions), CPU, torch.Generator().manual_seed(0), hidden=[8])
    replay.pay(2.0)
    agent.refit_scales(replay)
    obs = torch.tensor([[0.1, 0.2], [1.0, -1.0]])

    def temperature():
        return float(agent.log_temperature.detach().exp() * agent.reward_scale.scale)

    before, temperature_before = agent.state_value(obs), temperature()
    targets_before = [weight.clone() for weight in agent.critics.targets[-2:]]
    replay.pay(100.0)
    normalizer = agent.normalizer.state_dict()
    agent.refit_scales(replay)
    agent.normalizer.load_state_dict(normalizer)
    assert float(agent.reward_scale.scale) == pytest.approx(math.sqrt(10004 / 2))
    assert torch.allclose(agent.state_value(obs), before, rtol=1e-5)
    assert temperature() == pytest.approx(temperature_before, rel=1e-5)
    factor = 2.0 / math.sqrt(10004 / 2)
    for weight, old in zip(agent.critics.targets[-2:], targets_before, strict=True):
        assert torch.allclose(weight, factor * old)
