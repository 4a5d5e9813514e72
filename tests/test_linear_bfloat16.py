"""Products in bfloat16: values and gradients against float32, within the precision of 8 bits."""

import pytest
import torch

from mbrl_cli.nets.linear_bfloat16 import linear_bfloat16
from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.nets.stacked_residual_mlp import StackedResidualMLP


def relative_error(value, exact):
    return ((value - exact).norm() / exact.norm()).item()


def test_the_layer_and_its_gradients_are_those_of_float32_within_the_precision(generator):
    x = torch.randn(2, 32, 5, generator=generator, requires_grad=True)
    weight = torch.randn(2, 5, 4, generator=generator, requires_grad=True)
    bias = torch.randn(2, 1, 4, generator=generator, requires_grad=True)
    inputs = x, weight, bias
    factor = torch.randn(2, 32, 4, generator=generator)
    exact = torch.baddbmm(bias, x, weight)
    out = linear_bfloat16(x, weight, bias)
    assert out.dtype == torch.bfloat16
    assert relative_error(out, exact) < 0.01
    gradients = torch.autograd.grad((out * factor).sum(), inputs)
    for gradient, of_exact in zip(
        gradients, torch.autograd.grad((exact * factor).sum(), inputs), strict=True
    ):
        assert gradient.dtype == torch.float32
        assert relative_error(gradient, of_exact) < 0.01


@pytest.mark.parametrize("make", [StackedMLP, StackedResidualMLP])
def test_networks_return_float32_close_to_those_of_float32(make, generator):
    nets = [
        make(2, 3, 1, torch.Generator().manual_seed(0), precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    x = torch.randn(2, 64, 3, generator=generator)
    exact, out = (net(x) for net in nets)
    assert out.dtype == torch.float32
    assert 0.0 < relative_error(out, exact) < 0.02
