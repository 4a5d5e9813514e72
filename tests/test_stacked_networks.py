"""Stacked networks against separate networks that are written out."""

import pytest
import torch

from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.nets.stacked_residual_mlp import StackedResidualMLP


@pytest.mark.parametrize("out_dim", [1, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_stacked_networks_equal_separate_networks(generator, out_dim, layer_norm):
    net = StackedMLP(2, 3, out_dim, generator, [8, 8], "silu", layer_norm)
    x = torch.randn(2, 5, 3, generator=generator)
    for member in range(2):
        w1, b1, w2, b2, w3, b3 = (parameter[member] for parameter in net.parameters)
        hidden = x[member]
        for weight, bias in ((w1, b1), (w2, b2)):
            hidden = hidden @ weight + bias
            if layer_norm:
                variance = hidden.var(-1, keepdim=True, unbiased=False)
                hidden = (hidden - hidden.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt()
            hidden = hidden * torch.sigmoid(hidden)
        assert torch.allclose(net(x)[member], hidden @ w3 + b3, atol=1e-5)


def test_a_residual_network_adds_its_blocks_to_a_linear_layer(generator):
    net = StackedResidualMLP(2, 3, 1, generator, width=4, num_blocks=2, activation="silu")
    x = torch.randn(2, 5, 3, generator=generator)

    def normalized(x):
        variance = x.var(-1, keepdim=True, unbiased=False)
        return (x - x.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt()

    for member in range(2):
        w, b, *blocks, out, out_bias = (parameter[member] for parameter in net.parameters)
        assert [weight.shape for weight in blocks[::2]] == [(4, 16), (16, 4)] * 2
        hidden = x[member] @ w + b
        for index in (0, 4):
            w1, b1, w2, b2 = blocks[index : index + 4]
            inner = normalized(hidden) @ w1 + b1
            hidden = hidden + (inner * torch.sigmoid(inner)) @ w2 + b2
        assert torch.allclose(net(x)[member], normalized(hidden) @ out + out_bias, atol=1e-5)


@pytest.mark.parametrize("make", [StackedMLP, StackedResidualMLP])
def test_bfloat16_gives_values_and_gradients_within_its_precision(make, generator):
    x = torch.randn(2, 256, 3, generator=generator)
    results = {}
    for precision in ("float32", "bfloat16"):
        net = make(2, 3, 1, torch.Generator().manual_seed(0), precision=precision)
        out = net(x)
        results[precision] = out, *torch.autograd.grad(out.square().sum(), net.parameters)
    errors = []
    for exact, value in zip(results["float32"], results["bfloat16"], strict=True):
        assert value.dtype == torch.float32
        errors.append(((value - exact).norm() / exact.norm()).item())
    assert 0.0 < max(errors) < 0.03
