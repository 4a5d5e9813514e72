"""Distributions of SAC's actions: densities and samples against numbers derived by hand."""

import math

import pytest
import torch

from mbrl_cli.agents.categorical import Categorical
from mbrl_cli.agents.squashed_gaussian import SquashedGaussian


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, -0.5), (0.7, -1.0), (-1.5, 0.0)])
def test_the_density_of_squashed_actions_integrates_to_one_and_gives_the_entropy(mean, log_std):
    """Integrate the density and -density * log density numerically; compare with samples."""
    gaussian = SquashedGaussian(1)
    u = torch.linspace(mean - 8 * math.exp(log_std), mean + 8 * math.exp(log_std), 20_001)
    noise = ((u - mean) / math.exp(log_std))[:, None]
    out = torch.tensor([[mean, log_std]]).expand(len(u), -1)
    action, log_density = gaussian.sample_with_log_density(out, noise)
    a, density = action[:, 0].double(), log_density.double().exp()
    inside = a.abs() < 1 - 1e-6  # closer to 1 float32 has too few values
    assert torch.trapezoid(density[inside], a[inside]).item() == pytest.approx(1.0, abs=2e-3)
    entropy = torch.trapezoid((-density * log_density)[inside], a[inside]).item()
    noise = torch.randn(400_000, 1, generator=torch.Generator().manual_seed(0))
    _, log_density = gaussian.sample_with_log_density(out[:1].expand(len(noise), -1), noise)
    assert -log_density.mean().item() == pytest.approx(entropy, abs=0.01)  # standard error 0.002


def test_samples_with_and_without_density_are_the_same_function_of_the_noise(generator):
    gaussian, out = SquashedGaussian(2), torch.randn(5, 4, generator=generator)
    samples = gaussian.sample(out, torch.Generator().manual_seed(1))
    noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(samples, gaussian.sample_with_log_density(out, noise)[0])


def test_gumbel_noise_samples_a_categorical_distribution(generator):
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(10_000, -1)
    samples = Categorical(3).sample(logits, generator)
    assert (samples.sum(1) == 1).all()
    assert samples.mean(0).tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)  # +- 0.005
