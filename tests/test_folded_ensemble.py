"""The fast way to imagine equals the plain one: unfolded weights, one step after the other."""

import pytest
import torch
from torch import nn

from mbrl_cli.nets.termination import log_continue_probability

ROWS, HORIZON = 6, 7


def plain_unroll(model, obs, actions, noise, owners):
    """Imagine particle by particle with the trained network and the normalisers as they stand.

    obs [M, P, O], actions [H, M, A], noise [H, P, O] by place, owners [H, P] who is at which place.
    Return reward [H, M, P], continues [H, M, P] and observations [H, M, P, O].
    """
    t, obs_dim, members = model.targets, obs.shape[-1], len(model.best)
    rewards, continues, reached = [], [], []
    for action, luck, owner in zip(actions, noise, owners, strict=True):
        next_obs, reward, chance = torch.empty_like(obs), torch.empty(obs.shape[:2]), []
        for place, particle in enumerate(owner.tolist()):
            x = torch.cat([(obs[:, particle] - t.obs.mean) / t.obs.std, action], -1)  # [M, O+A]
            out = model.net(x.T.expand(model.num_members, -1, -1))[model.best].mT  # [E, M, D]
            if model.propagation == "expectation":
                out = out.mean(0)
            else:
                out = out[place * members // len(owner)]
            change = out[:, :obs_dim] * t.delta.std + t.delta.mean
            next_obs[:, particle] = obs[:, particle] + change
            reward[:, particle] = out[:, obs_dim] * t.reward.std[0] + t.reward.mean[0]
            if model.noisy:
                member = model.best[place * members // len(owner)]
                high, low = model.max_logvar[member, :, 0], model.min_logvar[member, :, 0]
                logvar = high - nn.functional.softplus(high - out[:, obs_dim + 1 :])
                logvar = low + nn.functional.softplus(logvar - low)
                std = (0.5 * logvar).exp() * t.delta.std
                next_obs[:, particle] += std * torch.where(model._integer, 0.0, luck[place])
        next_obs = torch.where(model._integer, next_obs.round(), next_obs)
        for particle in range(len(owner)):
            x = (next_obs[:, particle] - t.obs.mean) / t.obs.std
            logits = model.ending(x.T.expand(model.num_members, -1, -1))
            each = log_continue_probability(logits).exp()[model.best]  # [E, M]
            member = particle * members // len(owner)
            chance.append(each.mean(0) if model.propagation == "expectation" else each[member])
        obs = next_obs
        rewards.append(reward)
        continues.append(torch.stack(chance, -1))
        reached.append(obs)
    return torch.stack(rewards), torch.stack(continues), torch.stack(reached)


@pytest.fixture
def make_random_ensemble(make_spec, make_ensemble, generator):
    """Return a builder of ensembles of 3 (2 in use) whose every number is random."""

    def draw(tensor, low=-1.0, high=1.0):
        tensor.copy_(torch.empty(tensor.shape).uniform_(low, high, generator=generator))

    def make(propagation, head, hidden, integer=False, **known):
        spec = make_spec(3, 2, integer=integer, **known)
        model = make_ensemble(
            spec, head=head, hidden=hidden, num_members=3, num_elites=2, num_particles=4,
            propagation=propagation,
        )  # fmt: skip
        t = model.targets
        with torch.no_grad():
            draw(model.net.skip, -0.3, 0.3)
            draw(model.max_logvar, -3.0, -2.0)
            draw(model.min_logvar, -6.0, -5.0)
            for normalizer in (t.obs, t.delta, t.reward):
                draw(normalizer.mean, -0.2, 0.2)
                draw(normalizer.std, 0.3, 1.5)
        t.ends_seen = True
        model.best = torch.tensor([0, 2])
        model._prepare()
        return model

    return make


def compare(model, generator):
    """Assert that both ways give the same rewards, chances and observations."""
    obs = torch.randn(ROWS, model.num_particles, 3, generator=generator)
    actions = torch.randn(HORIZON, ROWS, 2, generator=generator)
    # The numbers that `unroll` draws, in its order: all noise, then the order at each step.
    again = torch.Generator().manual_seed(7)
    noise = torch.zeros(HORIZON, model.num_particles, 3)
    if model.noisy:
        noise = torch.randn(noise.shape, generator=again)
    owners = torch.arange(model.num_particles).expand(HORIZON, -1)
    if model.propagation == "ts1":
        owners = torch.rand(HORIZON, model.num_particles, generator=again).argsort(1)
    with torch.no_grad():
        reward, continues, reached = plain_unroll(model, obs, actions, noise, owners)
    fast = model.unroll({"obs": obs}, actions, torch.Generator().manual_seed(7))
    close = {"rtol": 1e-4, "atol": 1e-4}
    if model.spec.known_reward is not None:
        before = torch.cat([obs[None], reached[:-1]])
        each = actions[:, :, None].expand(-1, -1, model.num_particles, -1)
        reward = model.spec.known_reward(before, each, reached)
        continues = 1.0 - model.spec.known_termination(before, each, reached).float()
    torch.testing.assert_close(fast.reward, reward, **close)
    torch.testing.assert_close(fast.continues, continues, **close)


@pytest.mark.parametrize("hidden", [[8], [8, 8], [8, 5, 6]])
@pytest.mark.parametrize("head", ["point", "gaussian"])
@pytest.mark.parametrize("propagation", ["ts_inf", "ts1", "expectation"])
def test_unrolling_equals_the_plain_way(make_random_ensemble, generator, propagation, head, hidden):
    compare(make_random_ensemble(propagation, head, hidden), generator)


@pytest.mark.parametrize("propagation", ["ts_inf", "ts1", "expectation"])
def test_known_functions_see_each_particle_s_own_transition(
    make_random_ensemble, generator, propagation
):
    model = make_random_ensemble(
        propagation, "point", [8],
        known_reward=lambda obs, action, next_obs: (
            obs[..., 0] * action[..., 1] + next_obs[..., 2]
        ),
        known_termination=lambda obs, action, next_obs: next_obs[..., 1] > obs[..., 1],
    )  # fmt: skip
    compare(model, generator)


@pytest.mark.parametrize("integer", [True, (False, True, False)])
@pytest.mark.parametrize("propagation", ["ts_inf", "ts1"])
def test_whole_numbers_are_rounded_at_every_step(
    make_random_ensemble, generator, propagation, integer
):
    compare(make_random_ensemble(propagation, "gaussian", [8], integer), generator)


def test_a_second_unroll_does_not_change_what_the_first_returned(make_random_ensemble, generator):
    model = make_random_ensemble("ts_inf", "gaussian", [8])
    state = {"obs": torch.zeros(ROWS, 4, 3)}
    actions = torch.randn(HORIZON, ROWS, 2, generator=generator)
    first = model.unroll(state, actions, generator, with_disagreement=True)
    returned = (first.reward, first.continues, first.disagreement)
    kept = [part.clone() for part in returned]
    model.unroll(state, -actions, generator, with_disagreement=True)
    for part, copy in zip(returned, kept, strict=True):
        assert torch.equal(part, copy)
