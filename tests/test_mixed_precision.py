"""Ways to make networks faster: what they may change, and what not."""

import pytest
import torch
from test_dreamer import filled, make_rssm  # noqa: F401  (a fixture)

from mbrl_cli.errors import UserError
from mbrl_cli.nets.compilation import compile_networks, find_compiler_error
from mbrl_cli.nets.mixed_precision import set_precision
from mbrl_cli.nets.norm_mlp import NormMLP


def make_net():
    return NormMLP(3, 2, torch.Generator().manual_seed(0), 64, 2)


def test_bfloat16_is_nearly_the_same_and_float32_outside():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    exact, narrow = make_net(), make_net()
    set_precision(narrow, "bfloat16")
    found = narrow(x)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact(x))
    assert torch.allclose(found, exact(x), atol=0.05)  # eight bits of numbers near one
    gradients = torch.autograd.grad(found.square().mean(), list(narrow.parameters()))
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


@pytest.mark.parametrize("latents", ["categorical", "gaussian"])
def test_a_world_model_learns_in_bfloat16(make_rssm, latents):  # noqa: F811
    replay = filled([40, 40])
    losses = {}
    for precision in ("float32", "bfloat16"):
        model = make_rssm(1, precision=precision, latents=latents)
        generator = torch.Generator().manual_seed(0)
        losses[precision] = [model.fit(replay, generator)["train_loss"] for _ in range(8)]
        state = model.step(model.branch(model.initial(3), 1), torch.zeros(3, 1), generator).state
        assert {part.dtype for part in state.values()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]


def test_compiled_networks_say_the_same():
    if fault := find_compiler_error():
        pytest.skip(fault)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    plain, compiled = make_net(), make_net()
    compile_networks(compiled)
    assert compiled._compiled_call_impl is not None  # it is translated, not passed over
    assert torch.allclose(compiled(x), plain(x), atol=1e-5)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_without_a_compiler_that_is_said(make_rssm):  # noqa: F811
    import torch._dynamo
    import torch._inductor.config as config

    torch._dynamo.reset()  # what an earlier test has translated

    with (
        config.patch({"force_disable_caches": True, "cpp.cxx": (None, "/nonexistent")}),
        pytest.raises(UserError, match=r"model.compile=true: .*C\+\+ compiler.*; use false"),
    ):
        make_rssm(compile=True)
