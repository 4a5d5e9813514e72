"""Categorical and Gaussian latents: sampling, KL and entropy."""

import math

import pytest
import torch

from mbrl_cli.nets.categorical_latents import CategoricalLatents
from mbrl_cli.nets.gaussian_latents import GaussianLatents


def test_the_gaussian_kl_and_entropy_are_those_of_torch():
    latents = GaussianLatents(3)
    left, right = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))

    def normal(statistics):
        std = torch.nn.functional.softplus(statistics[:, 3:]) + 0.1
        return torch.distributions.Normal(statistics[:, :3], std)

    kl = torch.distributions.kl_divergence(normal(left), normal(right)).sum(-1)
    assert torch.allclose(latents.kl(left, right), kl, atol=1e-5)
    assert torch.allclose(latents.entropy(left), normal(left).entropy().sum(-1), atol=1e-5)


def test_the_categorical_kl_and_entropy_by_hand():
    """Probabilities 3/4, 1/4 against 1/2, 1/2, for two variables."""
    latents = CategoricalLatents(2, 2, 0.0)
    left = torch.tensor([[math.log(3.0), 0.0, math.log(3.0), 0.0]])
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert latents.entropy(left).item() == pytest.approx(2.0 * entropy, rel=1e-5)
    kl = 2.0 * (math.log(2.0) - entropy)
    assert latents.kl(left, torch.zeros(1, 4)).item() == pytest.approx(kl, rel=1e-5)


def test_classes_are_sampled_with_their_probabilities():
    """Logits log 3 and 0, a fifth of the probability uniform: 0.8 * 3/4 + 0.2 / 2 = 0.7."""
    latents = CategoricalLatents(1, 2, 0.2)
    noise = (torch.arange(100) + 0.5)[:, None, None] / 100.0
    sample = latents.sample(torch.tensor([math.log(3.0), 0.0]).expand(100, -1), noise)
    assert sample.sum(0).tolist() == [70.0, 30.0]
