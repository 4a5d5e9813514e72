"""The recurrent state-space model: its losses by hand, filtering, imagination and learning."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.models.rssm import RSSM
from mbrl_cli.models.rssm_losses import continue_loss, kl_losses, observation_loss
from mbrl_cli.nets.categorical_latents import CategoricalLatents
from mbrl_cli.nets.two_hot import symlog
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")


def test_the_gradients_of_the_kl_losses_by_hand():
    """One variable of two classes: posterior 3/4, 1/4, prior 1/2, 1/2.

    The KL is log 2 - H(3/4) = 0.1308. The dynamics loss has the gradient p - q for the prior's
    logits, the representation loss q (log(q / p) - KL) for the posterior's.
    """
    posterior = torch.tensor([[math.log(3.0), 0.0]], requires_grad=True)
    prior = torch.zeros(1, 2, requires_grad=True)
    losses = kl_losses(CategoricalLatents(1, 2, 0.0), posterior, prior, free_nats=0.0)
    (losses.dynamics + 0.1 * losses.representation).backward()
    q = torch.tensor([[0.75, 0.25]])
    kl = (q * (q / 0.5).log()).sum()
    assert losses.kl.item() == pytest.approx(kl.item(), rel=1e-5)
    assert torch.allclose(prior.grad, torch.tensor([[-0.25, 0.25]]), atol=1e-6)
    assert torch.allclose(posterior.grad, 0.1 * q * ((q / 0.5).log() - kl), atol=1e-6)


def test_a_kl_below_the_free_nats_has_no_gradient():
    latents = CategoricalLatents(32, 2, 0.0)
    posterior = torch.tensor([[1.0, 0.0] * 32], requires_grad=True)
    prior = torch.zeros(1, 64, requires_grad=True)
    losses = kl_losses(latents, posterior, prior, free_nats=1.0)
    assert losses.kl > 1.0
    assert losses.dynamics.item() == losses.representation.item() == pytest.approx(losses.kl.item())
    losses = kl_losses(latents, posterior * 0.1, prior, free_nats=1.0)
    assert losses.kl < 1.0
    assert losses.dynamics.item() == losses.representation.item() == 1.0
    (losses.dynamics + losses.representation).backward()
    assert posterior.grad.abs().max() == prior.grad.abs().max() == 0.0


def test_prediction_losses_by_hand():
    decoded = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])  # 2 steps, 1 sequence, 2 entries
    assert observation_loss(decoded, torch.zeros(2, 1, 2)).item() == 2.5  # (1 + 4 + 0) / 2
    logits = torch.logit(torch.tensor([[0.8], [0.8]]))  # probability to continue
    loss = continue_loss(logits, torch.tensor([[0.0], [1.0]]))
    assert loss.item() == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2.0, rel=1e-5)


@pytest.mark.parametrize("latents", ["gaussian", "categorical"])
def test_observe_filters_as_training_does(make_rssm, latents):
    """Acting starts from `initial` with the action zero, training at a step with `first`."""
    model = make_rssm(latents=latents)
    generator = torch.Generator().manual_seed(0)
    obs, action = (torch.randn(4, 3, n, generator=generator) for n in (2, 1))
    first = torch.zeros(4, 3, dtype=torch.bool)
    first[0] = True
    embedded = model.nets.encoder(symlog(obs))
    # Training samples the posterior and acting takes its mode; here both take the mode.
    model.latents.sample = lambda statistics, noise: model.latents.mode(statistics)
    filtered = model.dynamics.filter_sequence(
        embedded, action, first, [True, False, False, False], torch.zeros(4, 3)
    )
    state = model.initial(3)
    for step in range(4):
        previous_action = action[step] if step else torch.zeros(3, 1)
        state = model.observe(state, previous_action, obs[step])
        assert torch.allclose(state["deter"], filtered.deter[step], atol=1e-5)
        assert torch.allclose(state["stoch"], filtered.stoch[step], atol=1e-5)


def test_unroll_is_step_after_step(make_rssm):
    model = make_rssm(num_particles=2)
    generator = torch.Generator().manual_seed(0)
    start = model.branch(model.observe(model.initial(2), torch.zeros(2, 1), torch.ones(2, 2)), 3)
    actions = torch.rand(4, 6, 1, generator=generator)
    unrolled = model.unroll(start, actions, torch.Generator().manual_seed(1))
    noise = iter(model.latents.noise((4, 1, 2), torch.Generator().manual_seed(1)))
    model.latents.noise = lambda shape, generator: next(noise)
    state = start
    for step, action in enumerate(actions):
        state, reward, continues = model.step(state, action, generator, common_noise=True)
        assert torch.allclose(reward, unrolled.reward[step])
        assert torch.allclose(continues, unrolled.continues[step], atol=1e-6)
    assert model.decode(state).shape == (6, 2, 2)


def test_known_functions_are_applied_to_decoded_observations(make_spec, generator):
    spec = make_spec(
        2, 1,
        known_reward=lambda obs, action, next_obs: next_obs[..., 0] + action[..., 0],
        known_termination=lambda obs, action, next_obs: next_obs[..., 1] > 1e9,
    )  # fmt: skip
    model = RSSM(spec, CPU, generator)
    state = model.branch(model.initial(3), 1)
    step = model.step(state, torch.full((3, 1), 0.5), torch.Generator().manual_seed(0))
    assert torch.allclose(step.reward, model.decode(step.state)[..., 0] + 0.5)
    assert step.continues.tolist() == [[1.0]] * 3


def test_the_normalizer_is_fitted_again_when_the_replay_has_doubled(make_rssm, generator):
    model, replay = make_rssm(1), ReplayBuffer(100, 1, 1, 0.0)
    fitted_rows = []
    for step in range(20):
        obs = np.array([float(step)])
        replay.add(obs, np.zeros(1), 0.0, obs + 1.0, False, step % 5 == 4)
        model.sample_sequences(replay, generator)
        fitted_rows.append(model.scaling.fitted_rows)
    assert sorted(set(fitted_rows)) == [1, 2, 4, 8, 16]
    assert model.scaling.normalizer.mean.item() == 7.5  # of 0 ... 15


@pytest.mark.learn
def test_a_model_remembers_what_a_reward_needs(make_rssm):
    """The reward is the observation before the last one, a random 0 or 1.

    A model that remembers has the entropy of the encoded rewards as its loss, one without memory
    that of their mixture.
    """
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(600, 1, 1, 0.0)
    values = rng.integers(0, 2, 602).astype(np.float32)
    for t in range(1, 601):
        obs, next_obs = values[t - 1 : t], values[t : t + 1]
        replay.add(obs, np.zeros(1), float(values[t - 1]), next_obs, False, t % 30 == 0)
    model = make_rssm(1, 1, fit_steps=100, sequence_length=16, batch_size=16, learning_rate=3e-3)
    for _ in range(4):
        metrics = model.fit(replay, torch.Generator().manual_seed(0))
    index, probability = model.two_hot.encode(torch.tensor([0.0, 1.0]))
    encoded = torch.zeros(2, len(model.two_hot.bins)).scatter_(1, index, probability)
    least = torch.special.entr(encoded).sum(1).mean()
    without_memory = torch.special.entr(encoded.mean(0)).sum()
    assert without_memory > least + 0.2
    assert metrics["reward_loss"] < least + 0.05
