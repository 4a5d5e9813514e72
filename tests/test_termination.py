"""The termination network: its loss by hand, and what it learns from few terminations."""

import math

import pytest
import torch

from mbrl_cli.nets.termination import (
    TerminationNet,
    calibrated,
    cross_entropy,
    log_continue_probability,
    termination_loss,
)


def test_loss_by_hand():
    logits = torch.logit(torch.tensor([[[0.8, 0.4]]]))  # one factor
    continues = torch.tensor([[1.0, 0.0]])
    # (-log 0.8 - 3 log 0.6) / 2 = (0.22314 + 3 * 0.51083) / 2
    assert termination_loss(logits, continues, 3.0).item() == pytest.approx(0.87781, 1e-4)
    # A logit of 17 exceeds the limit of 8 by nine, in one of two rows: 1e-4 * 81 / 2.
    logits = torch.tensor([[[17.0, 5.0]]])
    loss = termination_loss(logits, torch.ones(1, 2), 1.0).item()
    assert loss == pytest.approx(0.00405 + math.log(1.0 + math.exp(-5.0)) / 2, rel=1e-4)


def test_a_termination_counts_as_often_as_its_weight():
    # Continue probability 1/2 in all rows: each costs ln 2; the termination counts 5 times.
    logits = torch.zeros(2, 1, 4)
    continues = torch.tensor([[1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    loss = termination_loss(logits, continues, 5.0)
    assert loss.tolist() == pytest.approx([8 / 4 * math.log(2), math.log(2)])


def test_calibration_divides_the_odds_of_a_termination_by_the_weight():
    # c = 0.5, 0.2, 0.8 have the odds 1, 4, 1/4; a quarter of them is 1/4, 1, 1/16.
    log_continues = torch.tensor([0.5, 0.2, 0.8]).log()
    assert calibrated(log_continues, 4.0).exp().tolist() == pytest.approx([4 / 5, 1 / 2, 16 / 17])
    assert calibrated(log_continues, 1.0).exp().tolist() == pytest.approx([0.5, 0.2, 0.8])


def test_calibration_of_a_certain_end_and_of_a_certain_continuation():
    log_continues = torch.tensor([-math.inf, -200.0, -1e-12, 0.0])
    # 1e-12 / 5 is below the precision of a probability near 1, but not of its logarithm.
    assert calibrated(log_continues, 5.0).tolist() == pytest.approx(
        [-math.inf, -198.3906, -2e-13, 0.0], rel=1e-5
    )


def test_a_termination_that_is_certain_has_finite_odds_and_loss():
    """ln c = -100: odds of e^100 - 1, which float32 cannot hold; divided by 10 they are e^97.7."""
    log_continues = calibrated(torch.tensor([[-100.0, -79.0, -81.0]]), 10.0)
    assert log_continues.tolist()[0] == pytest.approx([-97.6974, -76.6974, -78.6974], abs=1e-4)
    assert cross_entropy(log_continues, torch.zeros(1, 3)).item() == pytest.approx(0.0, abs=1e-6)


def test_the_minimum_of_the_weighted_loss_is_the_frequency_of_the_data_after_calibration():
    """One of ten rows terminates: odds 1/9. With the weight 6 the network predicts odds 6/9."""
    continues = torch.tensor([[0.0, *[1.0] * 9]])
    weighted = torch.tensor(9 / 15).log().expand(1, 10).clone().requires_grad_()
    cross_entropy(weighted, continues, 6.0).sum().backward()
    assert float(weighted.grad.sum()) == pytest.approx(0.0, abs=1e-6)  # the minimum
    assert calibrated(weighted.detach(), 6.0).exp().mean() == pytest.approx(0.9)


def test_the_loss_of_an_impossible_termination_is_large_but_finite():
    loss = termination_loss(torch.tensor([[[40.0]]]), torch.tensor([[0.0]]), 1.0)
    assert 10.0 < float(loss) < 100.0


def test_a_termination_has_a_gradient_where_the_net_is_certain_to_continue():
    net = TerminationNet(1, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.b2.fill_(40.0)  # the probability to terminate is e^-40: 1 - p is 0 in float32
    loss = termination_loss(net(torch.zeros(1, 2, 1)), torch.zeros(1, 1), 1.0)
    loss.sum().backward()
    # The three factors are equal: each gets a third of the gradient 1 of the cross entropy.
    assert net.b2.grad.flatten().tolist() == pytest.approx([1 / 3] * 3, rel=0.3)


def test_an_entry_out_of_range_terminates_for_all_values_of_the_others():
    generator = torch.Generator().manual_seed(0)
    net = TerminationNet(1, 2, generator)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    x = torch.empty(1, 2, 400).uniform_(-2.0, 2.0, generator=generator)
    continues = (x[:, 0].abs() < 1.0).float()
    for _ in range(400):
        optimiser.zero_grad()
        termination_loss(net(x), continues, 1.0).sum().backward()
        optimiser.step()
    probes = torch.tensor(
        [[[1.6, 5.0], [-1.6, -5.0], [0.0, 5.0], [0.3, -5.0]]]
    )  # 5 is not in the data
    assert log_continue_probability(net(probes.mT)).exp().gt(0.5).tolist() == [
        [False, False, True, True]
    ]


def test_a_termination_that_was_attributed_to_a_wrong_entry_is_relearned():
    """At first all data with x = 1 terminate; later data show that y = 1 is needed too.

    Meanwhile the joint factor has become certain to continue, with a logit of 30.
    """
    generator = torch.Generator().manual_seed(0)
    net = TerminationNet(1, 2, generator)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]]).T[None]
    continues = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    for num_corners in (3, 4):
        for _ in range(3000):
            optimiser.zero_grad()
            loss = termination_loss(
                net(corners)[..., :num_corners], continues[:, :num_corners], 1.0
            )
            loss.sum().backward()
            optimiser.step()
        if num_corners == 3:
            net.b2.data[:, -1] = 30.0
    assert log_continue_probability(net(corners)).exp().gt(0.9).tolist() == [
        [True, True, False, True]
    ]
