"""Noise of plans: distributions, colour, probabilities of discrete actions."""

import math

import pytest
import torch
from function_world import HORIZON, FunctionWorld, decide, make_cem, make_shooting

from mbrl_cli.planners.noise import coloured_noise_matrix


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_discrete_actions_are_drawn_with_their_probabilities(make_action, generator, beta):
    planner = make_cem(make_action((3, 2)), noise_beta=beta)
    probabilities = torch.tensor([0.2, 0.5, 0.3, 0.0, 1.0])
    noise = planner.sample_noise(1, 20_000, generator)
    chosen = planner.choose_discrete(probabilities, noise)  # [1, N, H, A]
    # 20,000 draws per step: standard error 0.0035. Probability 0 is never drawn.
    torch.testing.assert_close(
        chosen.mean((0, 1)), probabilities.expand(HORIZON, -1), atol=0.015, rtol=0.0
    )
    assert chosen[..., 3].sum() == 0


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_coloured_noise_repeats_choices_and_ignores_their_order(make_action, generator, beta):
    planner = make_cem(make_action((4,)), noise_beta=beta)
    noise = planner.sample_noise(1, 20_000, generator)
    choice = planner.choose_discrete(planner.neutral, noise).argmax(-1)[0]  # [N, H]
    follows = [
        float((choice[:, 1:] == (choice[:, :-1] + shift) % 4).float().mean()) for shift in range(4)
    ]
    assert follows[1:] == pytest.approx([(1.0 - follows[0]) / 3.0] * 3, abs=0.01)
    assert follows[0] == pytest.approx(0.25, abs=0.01) if beta == 0.0 else follows[0] > 0.4


def test_shooting_draws_continuous_actions_uniformly(make_action, generator):
    world = FunctionWorld(lambda state, plans: torch.zeros(plans.shape[:2]))
    decide(make_shooting(make_action(1), population=5000), world, generator)
    actions = world.plans[0].flatten().sort().values
    # Kolmogorov-Smirnov test: for 30,000 draws the statistic exceeds 0.01 with probability 0.5 %.
    uniform = torch.linspace(-1.0, 1.0, len(actions))
    assert (actions - uniform).abs().max() < 2 * 0.01


@pytest.mark.parametrize("actions", [3, (2, 3)], ids=["continuous", "discrete"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_coloured_noise_has_the_same_distribution_at_every_step(
    make_action, generator, actions, beta
):
    planner = make_cem(make_action(actions), noise_beta=beta)
    noise = planner.sample_noise(2, 20_000, generator)  # [2, N, H, A]
    # Of the standard normal and the standard Gumbel distribution (Euler's constant, pi / sqrt 6).
    mean, std = (0.5772, math.pi / 6**0.5) if isinstance(actions, tuple) else (0.0, 1.0)
    # 40,000 draws per step: standard errors of at most 0.005.
    torch.testing.assert_close(
        noise.mean((0, 1)), torch.full(noise.shape[2:], mean), atol=0.02, rtol=0.0
    )
    torch.testing.assert_close(
        noise.std((0, 1)), torch.full(noise.shape[2:], std), atol=0.03, rtol=0.0
    )


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("horizon", [15, 16])
def test_the_power_of_coloured_noise_falls_with_the_frequency(beta, horizon):
    colour = coloured_noise_matrix(horizon, beta).double()
    # The covariance of the noise is circulant: its eigenvalues are the power spectrum.
    power = torch.fft.rfft((colour.T @ colour)[0]).real
    frequency = torch.arange(len(power)).clamp_min(1).double()
    torch.testing.assert_close(power / power[1], frequency**-beta, rtol=1e-4, atol=1e-6)
    if beta == 0.0:
        torch.testing.assert_close(colour, torch.eye(horizon).double())
