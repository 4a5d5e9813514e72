"""Networks in bfloat16: what changes, and what stays float32."""

import pytest
import torch

from mbrl_cli.nets.mixed_precision import set_precision
from mbrl_cli.nets.norm_mlp import NormMLP


def make_net():
    return NormMLP(3, 2, torch.Generator().manual_seed(0), hidden=64, layers=2)


def test_bfloat16_is_close_to_float32_and_returns_float32():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    exact, narrow = make_net(), make_net()
    set_precision(narrow, "bfloat16")
    out = narrow(x)
    assert out.dtype == torch.float32
    assert not torch.equal(out, exact(x))
    assert torch.allclose(out, exact(x), atol=0.05)  # eight bits of numbers near one
    gradients = torch.autograd.grad(out.square().mean(), list(narrow.parameters()))
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


@pytest.mark.parametrize("latents", ["categorical", "gaussian"])
def test_a_world_model_learns_in_bfloat16(make_rssm, counting_replay, latents):
    replay = counting_replay([40, 40])
    losses = {}
    for precision in ("float32", "bfloat16"):
        model = make_rssm(1, precision=precision, latents=latents)
        generator = torch.Generator().manual_seed(0)
        losses[precision] = [model.fit(replay, generator)["train_loss"] for _ in range(8)]
        state = model.step(model.branch(model.initial(3), 1), torch.zeros(3, 1), generator).state
        assert {part.dtype for part in state.values()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]
