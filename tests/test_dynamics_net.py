"""The losses of the ensemble's networks, by hand."""

import math

import pytest
import torch

from mbrl_cli.models.dynamics_net import DynamicsNet
from mbrl_cli.models.gaussian_likelihood import beta_nll, bounded_log_variance

CPU = torch.device("cpu")


def test_the_log_variance_is_bounded_smoothly():
    low, high = torch.tensor(-10.0), torch.tensor(0.5)
    raw = torch.tensor([-1000.0, -5.0, 0.5, 1000.0])
    # exp(bounded) = exp(low) + exp(high) * sigmoid(raw - high)
    expected = [-10.0, math.log(math.exp(-10) + math.exp(0.5) / (1 + math.exp(5.5))),
                math.log(math.exp(-10) + math.exp(0.5) / 2),
                math.log(math.exp(-10) + math.exp(0.5))]  # fmt: skip
    bounded = bounded_log_variance(raw, low, high)
    assert bounded.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("beta", "weight"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_beta_nll_is_the_nll_times_the_variance_to_the_power_beta(beta, weight):
    log_variance = torch.tensor(math.log(4.0), requires_grad=True)
    loss = beta_nll(torch.tensor(6.0), log_variance, beta)
    assert loss.item() == pytest.approx(weight * 0.5 * (6.0 / 4.0 + math.log(4.0)))
    loss.backward()  # of the NLL alone: the weight has no gradient
    assert log_variance.grad.item() == pytest.approx(weight * 0.5 * (1.0 - 6.0 / 4.0))


def make_net(spec, gaussian, generator):
    """Return two members whose outputs are their last layer's biases."""
    net = DynamicsNet(
        spec, 2, hidden=[4], activation="silu", gaussian=gaussian, nll_beta=0.0,
        generator=generator, device=CPU,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in net.mlp.parameters():
            parameter.zero_()
    return net


def zero(obs, action, next_obs):
    return torch.zeros(obs.shape[:-1])


@pytest.mark.parametrize(("known_reward", "expected"), [(None, [4 + 25, 1]), (zero, [4, 1])])
def test_squared_error_by_hand(make_spec, generator, known_reward, expected):
    net = make_net(make_spec(known_reward=known_reward), False, generator)
    with torch.no_grad():
        net.mlp.biases[-1][..., 0] = torch.tensor([[2.0, 5.0], [1.0, 0.0]])  # [E, change | reward]
    inputs, targets = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    assert net.training_loss(inputs, targets).tolist() == expected
    assert net.squared_error_loss(inputs, targets).tolist() == expected


def test_the_loss_of_a_gaussian_head_by_hand(make_spec, generator):
    net = make_net(make_spec(), True, generator)
    with torch.no_grad():
        net.mlp.biases[-1][..., 0] = torch.tensor([[2.0, 5.0, 0.5], [1.0, 0.0, 0.5]])
    inputs, targets = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    variance = math.exp(-10) + math.exp(0.5) / 2
    bounds = 0.01 * (0.5 + 10.0)
    expected = [
        0.5 * (4 / variance + math.log(variance)) + bounds + 25,
        0.5 * (1 / variance + math.log(variance)) + bounds,
    ]
    assert net.training_loss(inputs, targets).tolist() == pytest.approx(expected, rel=1e-5)
    assert net.squared_error_loss(inputs, targets).tolist() == [4 + 25, 1]


def test_only_a_gaussian_head_trains_the_bounds(make_spec, generator):
    point, gaussian = (make_net(make_spec(), head, generator) for head in (False, True))
    assert len(gaussian.trained_parameters()) == len(point.trained_parameters()) + 2
