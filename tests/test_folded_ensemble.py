"""`Ensemble.unroll` equals a plain computation with the trained networks, step after step."""

import pytest
import torch

from mbrl_cli.models.gaussian_likelihood import bounded_log_variance
from mbrl_cli.nets.termination import log_continue_probability

ROWS, HORIZON = 6, 7


def plain_unroll(model, obs, actions, noise, particle_of_slot):
    """Imagine particle by particle with the trained networks and the normalizer.

    obs [M, P, O], actions [H, M, A], noise [H, P, O] of each slot, particle_of_slot [H, P]. Return
    reward [H, M, P], continues [H, M, P] and observations [H, M, P, O].
    """
    net, norm, members = model.net, model.normalizer, len(model.elites)
    obs_dim, num_particles = obs.shape[-1], obs.shape[1]
    all_rewards, all_continues, all_obs = [], [], []
    for action, slot_noise, order in zip(actions, noise, particle_of_slot, strict=True):
        next_obs, reward = torch.empty_like(obs), torch.empty(obs.shape[:2])
        for slot, particle in enumerate(order.tolist()):
            elite = slot * members // num_particles
            x = torch.cat([(obs[:, particle] - norm.obs.mean) / norm.obs.std, action], -1)
            out = net.mlp(x.T.expand(model.num_members, -1, -1))[model.elites].mT  # [E, M, D]
            out = out.mean(0) if model.propagation == "expectation" else out[elite]
            change = out[:, :obs_dim] * norm.change.std + norm.change.mean
            next_obs[:, particle] = obs[:, particle] + change
            reward[:, particle] = out[:, obs_dim] * norm.reward.std[0] + norm.reward.mean[0]
            if model.is_noisy:
                member = model.elites[elite]
                low, high = net.min_log_variance[member, :, 0], net.max_log_variance[member, :, 0]
                log_variance = bounded_log_variance(out[:, obs_dim + 1 :], low, high)
                std = (0.5 * log_variance).exp() * norm.change.std
                next_obs[:, particle] += std * torch.where(model._integer, 0.0, slot_noise[slot])
        next_obs = torch.where(model._integer, next_obs.round(), next_obs)
        continues = []
        for particle in range(num_particles):
            x = (next_obs[:, particle] - norm.obs.mean) / norm.obs.std
            logits = model.termination.net(x.T.expand(model.num_members, -1, -1))
            by_elite = log_continue_probability(logits).exp()[model.elites]  # [E, M]
            expectation = model.propagation == "expectation"
            elite = particle * members // num_particles
            continues.append(by_elite.mean(0) if expectation else by_elite[elite])
        obs = next_obs
        all_rewards.append(reward)
        all_continues.append(torch.stack(continues, -1))
        all_obs.append(obs)
    return torch.stack(all_rewards), torch.stack(all_continues), torch.stack(all_obs)


@pytest.fixture
def make_random_ensemble(make_spec, make_ensemble, generator):
    """Return a builder of ensembles of 3 members (2 elites) with random weights and statistics."""

    def draw(tensor, low=-1.0, high=1.0):
        tensor.copy_(torch.empty(tensor.shape).uniform_(low, high, generator=generator))

    def make(propagation, head, hidden, integer=False, **known):
        spec = make_spec(3, 2, integer=integer, **known)
        model = make_ensemble(
            spec, head=head, hidden=hidden, num_members=3, num_elites=2, num_particles=4,
            propagation=propagation,
        )  # fmt: skip
        norm = model.normalizer
        with torch.no_grad():
            draw(model.net.mlp.skip, -0.3, 0.3)
            draw(model.net.max_log_variance, -3.0, -2.0)
            draw(model.net.min_log_variance, -6.0, -5.0)
            for normalizer in (norm.obs, norm.change, norm.reward):
                draw(normalizer.mean, -0.2, 0.2)
                draw(normalizer.std, 0.3, 1.5)
                normalizer.spread.copy_(normalizer.std)
        model.termination.has_seen_termination = True
        model.elites = torch.tensor([0, 2])
        model.fold_weights()
        return model

    return make


def compare(model, generator):
    """Assert that `unroll` and `plain_unroll` give the same rewards and continue probabilities."""
    obs = torch.randn(ROWS, model.num_particles, 3, generator=generator)
    actions = torch.randn(HORIZON, ROWS, 2, generator=generator)
    # The random numbers of `unroll`, in its order: all noise, then the order at each step.
    same = torch.Generator().manual_seed(7)
    noise = torch.zeros(HORIZON, model.num_particles, 3)
    if model.is_noisy:
        noise = torch.randn(noise.shape, generator=same)
    particle_of_slot = torch.arange(model.num_particles).expand(HORIZON, -1)
    if model.propagation == "ts1":
        uniform = torch.rand(HORIZON, model.num_particles, generator=same)
        particle_of_slot = uniform.argsort(1)
    with torch.no_grad():
        reward, continues, next_obs = plain_unroll(model, obs, actions, noise, particle_of_slot)
    fast = model.unroll({"obs": obs}, actions, torch.Generator().manual_seed(7))
    close = {"rtol": 1e-4, "atol": 1e-4}
    if model.spec.known_reward is not None:
        previous = torch.cat([obs[None], next_obs[:-1]])
        action = actions[:, :, None].expand(-1, -1, model.num_particles, -1)
        reward = model.spec.known_reward(previous, action, next_obs)
        continues = 1.0 - model.spec.known_termination(previous, action, next_obs).float()
    torch.testing.assert_close(fast.reward, reward, **close)
    torch.testing.assert_close(fast.continues, continues, **close)
    torch.testing.assert_close(fast.last_state["obs"], next_obs[-1], **close)


@pytest.mark.parametrize("hidden", [[8], [8, 8], [8, 5, 6]])
@pytest.mark.parametrize("head", ["point", "gaussian"])
@pytest.mark.parametrize("propagation", ["ts_inf", "ts1", "expectation"])
def test_unroll_equals_the_plain_computation(
    make_random_ensemble, generator, propagation, head, hidden
):
    compare(make_random_ensemble(propagation, head, hidden), generator)


@pytest.mark.parametrize("propagation", ["ts_inf", "ts1", "expectation"])
def test_known_functions_get_the_transitions_of_each_particle(
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
def test_integer_observations_are_rounded_at_every_step(
    make_random_ensemble, generator, propagation, integer
):
    compare(make_random_ensemble(propagation, "gaussian", [8], integer), generator)


def test_a_second_unroll_does_not_change_the_result_of_the_first(make_random_ensemble, generator):
    model = make_random_ensemble("ts_inf", "gaussian", [8])
    state = {"obs": torch.zeros(ROWS, 4, 3)}
    actions = torch.randn(HORIZON, ROWS, 2, generator=generator)
    first = model.unroll(state, actions, generator, with_disagreement=True)
    results = (first.reward, first.continues, first.disagreement)
    copies = [part.clone() for part in results]
    model.unroll(state, -actions, generator, with_disagreement=True)
    for part, copy in zip(results, copies, strict=True):
        assert torch.equal(part, copy)
