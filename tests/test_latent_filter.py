"""The filter over a sequence: its hand-written gradient, and restarts within a sequence."""

import pytest
import torch

from mbrl_cli.nets.categorical_latents import CategoricalLatents
from mbrl_cli.nets.gaussian_latents import GaussianLatents
from mbrl_cli.nets.latent_dynamics import LatentDynamics

LATENTS = {"categorical": CategoricalLatents(2, 3, 0.1), "gaussian": GaussianLatents(4)}


def make_dynamics(latents, recurrent, generator):
    return LatentDynamics(
        latents, embedded_dim=4, action_dim=2, generator=generator, deter=5, hidden=8,
        recurrent=recurrent,
    )  # fmt: skip


def sequences(latents, generator):
    """Return 5 steps of 3 sequences, of which the first and the last restart at step 2."""
    embedded, action = (torch.randn(5, 3, n, generator=generator) for n in (4, 2))
    noise = latents.noise((5, 3), generator)
    first = torch.zeros(5, 3, dtype=torch.bool)
    first[0], first[2] = True, torch.tensor([True, False, True])
    return embedded, action, first, [True, False, True, False, False], noise


def filter_step_by_step(dynamics, embedded, action, first, noise):
    """Filter with plain modules, so that autograd follows every step."""
    latents = dynamics.latents
    num = first.shape[1]
    state = torch.zeros(num, dynamics.deter).double(), torch.zeros(num, latents.size).double()
    steps = []
    for obs, act, is_first, step_noise in zip(embedded, action, first, noise, strict=True):
        mask = 1.0 - is_first[:, None].double()
        deter = dynamics(*(part * mask for part in state), act * mask)
        statistics = dynamics.posterior(deter, obs)
        stoch = latents.sample(statistics, step_noise)
        if isinstance(latents, CategoricalLatents):
            # Straight-through: the value of the sample, the gradient of the probabilities.
            blocks = statistics.unflatten(-1, (latents.variables, latents.classes))
            p = (1.0 - latents.unimix) * blocks.softmax(-1).flatten(-2)
            stoch = stoch + p - p.detach()
        state = deter, stoch
        steps.append((deter, stoch, statistics))
    return [torch.stack(parts) for parts in zip(*steps, strict=True)]


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("kind", LATENTS)
def test_values_and_gradients_are_those_of_autograd_through_every_step(kind, recurrent):
    generator = torch.Generator().manual_seed(0)
    dynamics = make_dynamics(LATENTS[kind], recurrent, generator).double()
    parameters = [p for name, p in dynamics.named_parameters() if "prior" not in name]
    for parameter in parameters:  # scales and shifts too are not at their initial values
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    embedded, action, first, restarts, noise = sequences(LATENTS[kind], generator)
    embedded, action, noise = embedded.double().requires_grad_(), action.double(), noise.double()
    expected = filter_step_by_step(dynamics, embedded, action, first, noise)
    filtered = dynamics.filter_sequence(embedded, action, first, restarts, noise)
    weights = [torch.randn(part.shape, generator=generator).double() for part in expected]
    gradients = []
    for outputs in (expected, filtered):
        loss = sum((part * w).sum() for part, w in zip(outputs, weights, strict=True))
        gradients.append(torch.autograd.grad(loss, [embedded, *parameters]))
    for plain, fast in zip(expected, filtered, strict=True):
        assert torch.allclose(plain, fast)
    for plain, fast in zip(*gradients, strict=True):
        assert plain.abs().max() > 1e-3
        assert torch.allclose(plain, fast, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("recurrent", [True, False])
def test_an_episode_that_starts_within_a_sequence_does_not_depend_on_earlier_steps(recurrent):
    """A sequence that restarts at step 2 is from there on a sequence of its own."""
    generator = torch.Generator().manual_seed(0)
    latents = CategoricalLatents(2, 3, 0.01)
    dynamics = make_dynamics(latents, recurrent, generator)
    embedded, action, first, restarts, noise = sequences(latents, generator)
    whole = dynamics.filter_sequence(embedded, action, first, restarts, noise)
    later_first = first[2:].clone()
    later_first[0] = True
    later = dynamics.filter_sequence(embedded[2:], action[2:], later_first, restarts[2:], noise[2:])
    for long, short in zip(whole, later, strict=True):
        assert torch.allclose(long[2:, [0, 2]], short[:, [0, 2]], atol=1e-6)
    assert not torch.allclose(whole.deter[2, 1], later.deter[0, 1])  # it does not restart
