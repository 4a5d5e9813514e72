"""Compiled networks compute the same; without a compiler there is a message."""

import pytest
import torch

from mbrl_cli.errors import UserError
from mbrl_cli.nets.compilation import compile_networks, find_compiler_error
from mbrl_cli.nets.norm_mlp import NormMLP


def test_compiled_networks_return_the_same():
    if error := find_compiler_error():
        pytest.skip(error)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    plain, compiled = (
        NormMLP(3, 2, torch.Generator().manual_seed(0), hidden=64, layers=2) for _ in range(2)
    )
    compile_networks(compiled)
    assert compiled._compiled_call_impl is not None
    assert torch.allclose(compiled(x), plain(x), atol=1e-5)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_a_missing_compiler_is_an_error_with_its_reason(make_rssm):
    import torch._dynamo
    import torch._inductor.config as config

    torch._dynamo.reset()  # earlier tests may have compiled the same function

    with (
        config.patch({"force_disable_caches": True, "cpp.cxx": (None, "/nonexistent")}),
        pytest.raises(UserError, match=r"model.compile=true: .*C\+\+ compiler.*; use false"),
    ):
        make_rssm(compile=True)
