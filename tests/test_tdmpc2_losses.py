"""TD-MPC2: normalization, two-hot targets, losses and scales with numbers derived by hand."""

import math

import pytest
import torch

from mbrl_cli.agents.episode_discount import discount_for
from mbrl_cli.agents.value_range import ValueRange
from mbrl_cli.models import tdmpc2_losses
from mbrl_cli.nets.sim_norm import SimNorm, sim_norm
from mbrl_cli.nets.symlog_two_hot import SymlogTwoHot


def test_sim_norm_by_hand():
    x = torch.tensor([[0.0, 5.0, math.log(3.0), 5.0]])
    # Entries 0 and 2 are a pair, and 1 and 3: softmax (1, 3) / 4 and (1, 1) / 2. A constant within
    # a group has no effect.
    assert torch.allclose(sim_norm(x, group_size=2), torch.tensor([[0.25, 0.5, 0.75, 0.5]]))


def test_sim_norm_after_layer_norm_has_groups_of_eight_that_sum_to_one(generator):
    norm = SimNorm(24)
    latent = norm(100.0 * torch.randn(5, 24, generator=generator))
    assert torch.allclose(latent.view(5, 8, 3).sum(-2), torch.ones(5, 3))
    with torch.no_grad():
        norm.scale.zero_()  # what remains is the shift, equal for all rows
        norm.shift[0] = math.log(9.0)
    latent = norm(torch.randn(2, 24, generator=generator))
    assert torch.allclose(latent[:, 0], torch.tensor(9.0 / 16.0))  # 9 / (9 + 7)
    assert torch.allclose(latent[:, 3::3], torch.tensor(1.0 / 16.0))  # the others of its group
    assert torch.allclose(latent[:, [1, 2, 4, 5]], torch.tensor(1.0 / 8.0))


def test_two_hot_in_symlog_space_by_hand():
    two_hot = SymlogTwoHot(21)  # bins -10, -9, ..., 10 in symlog
    numbers = torch.tensor([math.exp(0.5) - 1.0, math.e - 1.0, 1.0 - math.e**2])
    index, probability = two_hot.encode(numbers)
    position = (index * probability).sum(-1) - 10.0  # bin 10 is symlog 0
    assert torch.allclose(position, torch.tensor([0.5, 1.0, -2.0]), atol=1e-5)
    logits = torch.full((21,), -100.0)
    logits[9:13] = torch.tensor([1.0, 3.0, 3.0, 1.0]).log()  # symmetric around symlog 0.5
    half = math.exp(0.5) - 1.0
    assert float(two_hot.mean(logits)) == pytest.approx(half, rel=1e-3)
    assert float(two_hot.mean(torch.zeros(21))) == 0.0
    # Equal logits: every bin has the probability 1 / 21, whatever the target.
    assert float(two_hot.loss(torch.zeros(21), torch.tensor(half))) == pytest.approx(math.log(21.0))


def test_a_little_probability_in_the_outermost_bin_changes_a_value_by_a_factor():
    two_hot = SymlogTwoHot(101)
    probabilities = torch.zeros(101)
    # Symlog 5 and 10. A thousandth of 22,025 adds 22 to a mean of numbers.
    for number, probability in ((147.413, 0.999), (22025.0, 0.001)):
        index, encoded = two_hot.encode(torch.tensor(number))
        probabilities[index] += probability * encoded
    expected = math.exp(0.999 * 5.0 + 0.001 * 10.0) - 1.0  # 148.2
    assert float(two_hot.mean(probabilities.log())) == pytest.approx(expected, rel=1e-4)


def test_a_step_weighs_half_as_much_as_the_one_before_it():
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    weight = tdmpc2_losses.step_weights(mask, rho=0.5)  # [H=3, n=2]
    assert torch.allclose(weight * 6.0, torch.tensor([[1.0, 1.0], [0.5, 0.0], [0.25, 0.0]]))


def test_consistency_loss_by_hand():
    target = torch.zeros(2, 1, 4)
    latent = target.clone()
    latent[0, 0, 0] = 2.0  # mean square 4 / 4 = 1
    latent[1, 0] = 3.0  # mean square 9
    weight = tdmpc2_losses.step_weights(torch.ones(2, 1), rho=0.5)  # 1/2, 1/4
    loss = tdmpc2_losses.consistency_loss(latent, target, weight)
    assert float(loss) == pytest.approx(1.0 / 2.0 + 9.0 / 4.0)


def test_value_loss_is_a_mean_over_the_critics():
    two_hot = SymlogTwoHot(3)  # bins -10, 0, 10 in symlog
    logits = torch.zeros(2, 1, 1, 3)  # two critics; the first one is undecided: log(3)
    logits[1] = torch.tensor([0.25, 0.5, 0.25]).log()
    loss = tdmpc2_losses.value_loss(two_hot, logits, torch.zeros(1, 1), torch.ones(1, 1))
    side = 0.4111 / (1.0 + 2.0 * 0.4111)  # 0.2256 of the target 0 is on each of the other bins
    other = -(2.0 * side * math.log(0.25) + (1.0 - 2.0 * side) * math.log(0.5))
    assert float(loss) == pytest.approx((math.log(3.0) + other) / 2.0, rel=1e-4)


def test_continue_loss_ignores_what_comes_after_the_episode():
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 50.0]])  # probabilities 1/2, 1/2, 3/4, 1
    terminated = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    loss = tdmpc2_losses.continue_loss(logits, terminated, mask)
    assert float(loss) == pytest.approx((2.0 * math.log(2.0) + math.log(4.0)) / 4.0)


def test_policy_loss_by_hand():
    value, entropy = torch.tensor([[6.0]]), torch.tensor([[2.0]])
    loss = tdmpc2_losses.policy_loss(value, entropy, torch.tensor([[0.5]]), torch.tensor(3.0), 0.1)
    assert float(loss) == pytest.approx(-0.5 * (6.0 / 3.0 + 0.1 * 2.0))


def test_the_range_of_values_is_between_the_percentiles_and_at_least_one():
    scale = ValueRange()
    scale.update(torch.arange(101.0))  # 5th percentile 5, 95th percentile 95
    assert float(scale.range) == pytest.approx(1.0 + 0.01 * (90.0 - 1.0))
    small = ValueRange()
    small.update(torch.linspace(0.0, 0.5, 101))
    assert float(small.range) == 1.0


@pytest.mark.parametrize(
    ("steps", "discount"),
    [(200, 0.975), (500, 0.99), (20, 0.95), (5000, 0.995), (None, 0.995)],
)
def test_the_discount_has_five_effective_horizons_in_an_episode(steps, discount):
    assert discount_for(steps) == pytest.approx(discount)
