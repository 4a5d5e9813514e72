"""Gradient clipping by global norm."""

import torch

from mbrl_cli.nets.gradient_clipping import clip_gradients


def test_gradients_are_scaled_to_the_norm_only_if_they_exceed_it():
    """The norm of (3, 4) with (0, 12) is 13."""
    gradients = [torch.tensor([3.0, 4.0]), torch.tensor([0.0, 12.0])]
    clipped = clip_gradients([gradient.clone() for gradient in gradients], 6.5)
    assert torch.allclose(torch.cat(clipped), torch.tensor([1.5, 2.0, 0.0, 6.0]), atol=1e-5)
    unchanged = clip_gradients([gradient.clone() for gradient in gradients], 20.0)
    for before, after in zip(gradients, unchanged, strict=True):
        assert torch.equal(before, after)
