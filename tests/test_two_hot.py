"""Two-hot encoding and symlog: values and gradients by hand."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.nets.symlog_two_hot import SymlogTwoHot
from mbrl_cli.nets.two_hot import TwoHot, symexp, symlog


def encoded(two_hot, numbers):
    """Return the probabilities [n, K] that encode n numbers."""
    index, probabilities = two_hot.encode(torch.tensor(numbers))
    return torch.zeros(len(numbers), len(two_hot.bins)).scatter_(1, index, probabilities)


@pytest.mark.parametrize("encoding", [TwoHot, SymlogTwoHot])
@pytest.mark.parametrize("number", [0.0, 1.0, -1.0, 0.3, 17.5, -250.0, 9000.0, -22000.0])
@pytest.mark.parametrize("num_bins", [40, 41, 127])
def test_the_mean_of_an_encoded_number_is_the_number(encoding, number, num_bins):
    two_hot = encoding(num_bins)
    probabilities = encoded(two_hot, [number])
    assert probabilities.sum().item() == pytest.approx(1.0)
    assert two_hot.mean(probabilities.log()).item() == pytest.approx(number, rel=1e-4, abs=1e-4)


def test_a_target_that_is_one_of_two_numbers_has_their_mean():
    """TD targets are noisy: the network must learn their mean, not that of their logarithms."""
    two_hot = TwoHot(101)
    probabilities = encoded(two_hot, [2.0, 200.0]).mean(0)
    assert two_hot.mean(probabilities.log()).item() == pytest.approx(101.0, rel=1e-4)


def test_encoding_by_hand():
    """41 bins, 0.5 apart in symlog: 0.3 lies between the bins 0 and exp(0.5) - 1 = 0.6487.

    A bin is spread with weights exp(-d^2 / (2 * 0.75^2)) at a distance of d bins: 1, 0.4111, 0.0286
    and 0.0003, divided by their sum over both sides, 1.8800.
    """
    (probabilities,) = encoded(TwoHot(41), [0.3])
    upper = 0.3 / (math.exp(0.5) - 1.0)
    spread = np.array([0.0003, 0.0286, 0.4111, 1.0, 0.4111, 0.0286, 0.0003]) / 1.8800
    expected = np.zeros(41)
    expected[17:24] += (1.0 - upper) * spread  # around bin 20
    expected[18:25] += upper * spread  # around bin 21
    assert probabilities.numpy() == pytest.approx(expected, abs=1e-4)


def test_uniform_logits_have_the_mean_zero_and_the_loss_log_k():
    two_hot, logits = TwoHot(41), torch.zeros(1, 41)
    assert two_hot.mean(logits).item() == 0.0
    assert two_hot.loss(logits, torch.tensor([0.3])).item() == pytest.approx(math.log(41))


def test_the_gradient_of_two_targets_is_probability_minus_target_for_each():
    two_hot = TwoHot(5)
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0, 0.5]], requires_grad=True)
    one, other = torch.tensor([1.0]), torch.tensor([0.0])
    loss = two_hot.loss(logits, one, other)
    (gradient,) = torch.autograd.grad(3.0 * loss.sum(), logits)
    targets = encoded(two_hot, [1.0, 0.0]).sum(0)
    log_probs = logits.log_softmax(-1)
    assert loss.item() == pytest.approx(-(targets * log_probs).sum().item(), rel=1e-6)
    assert torch.allclose(gradient, 3.0 * (2.0 * log_probs.exp() - targets), atol=1e-6)


def test_predictions_do_not_depend_on_the_chunks():
    torch.manual_seed(0)
    two_hot, net = TwoHot(41), torch.nn.Linear(3, 41)
    x = torch.randn(2, 4000, 3)
    assert len(two_hot.chunks(x.flatten(0, 1))) > 1
    with torch.no_grad():
        predicted = two_hot.predict(net, x)
        assert torch.allclose(predicted, two_hot.mean(net(x)), rtol=1e-4, atol=1e-3)


def test_symexp_is_the_inverse_of_symlog():
    x = torch.tensor([-100.0, -1.0, 0.0, 0.5, math.e - 1.0])
    assert symlog(x)[-1].item() == pytest.approx(1.0)
    assert torch.allclose(symexp(symlog(x)), x, rtol=1e-5)
