"""Imagined steps of ensembles whose weights are set by hand."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.models.gaussian_likelihood import bounded_log_variance
from mbrl_cli.nets.termination import log_continue_probability


def constant_members(model, changes, rewards=None, continue_logits=None, log_variance=None):
    """Make member e predict the change changes[e] of every entry, and so on, for all inputs."""
    obs_dim = model.spec.obs_dim
    with torch.no_grad():
        for parameter in [*model.net.mlp.parameters(), *model.termination.net.parameters()]:
            parameter.zero_()
        model.termination.net.b2.fill_(50.0)  # every factor of the continue probability is 1
        bias = model.net.mlp.biases[-1][..., 0]  # [E, D]
        bias[:, :obs_dim] = torch.tensor(changes, dtype=torch.float32)[:, None]
        if rewards is not None:
            bias[:, obs_dim] = torch.tensor(rewards, dtype=torch.float32)
        if continue_logits is not None:
            logits = torch.tensor(continue_logits, dtype=torch.float32)
            model.termination.net.b2[:, 0, 0] = logits
        if log_variance is not None:
            bias[:, -obs_dim:] = log_variance
    model.fold_weights()
    return model


def set_log_variance_bounds(model, low, high):
    with torch.no_grad():
        model.net.min_log_variance.copy_(torch.as_tensor(low).view(-1, 1, 1))
        model.net.max_log_variance.copy_(torch.as_tensor(high).view(-1, 1, 1))
    model.fold_weights()


def rollout(model, steps, generator, rows=2):
    """Return the obs after each step [steps + 1, M, P, O] and the rewards [steps, M, P]."""
    state = model.branch({"obs": torch.zeros(rows, model.spec.obs_dim)}, 1)
    obs, rewards = [model.decode(state)], []
    for _ in range(steps):
        state, reward, _ = model.step(state, torch.zeros(rows, 1), generator)
        obs.append(model.decode(state))
        rewards.append(reward)
    return torch.stack(obs), torch.stack(rewards)


@pytest.mark.parametrize("head", ["point", "gaussian"])
@pytest.mark.parametrize("activation", ["silu", "relu", "tanh", "elu"])
def test_folded_weights_equal_normalization_by_hand(
    make_spec, make_ensemble, one_step, generator, head, activation
):
    model = make_ensemble(
        make_spec(3, 2), head=head, activation=activation, num_members=3, num_elites=2,
        num_particles=2, propagation="ts_inf", hidden=[8, 8],
    )  # fmt: skip

    def draw(*shape, low=-1.0, high=1.0):
        return torch.empty(shape).uniform_(low, high, generator=generator)

    net, norm = model.net, model.normalizer
    with torch.no_grad():
        net.mlp.skip.copy_(draw(*net.mlp.skip.shape))
        net.max_log_variance.copy_(draw(3, 3, 1))
        net.min_log_variance.copy_(draw(3, 3, 1) - 4.0)
    for normalizer, size in ((norm.obs, 3), (norm.change, 3), (norm.reward, 1)):
        normalizer.mean = draw(size)
        normalizer.std = normalizer.spread = draw(size, low=0.3, high=3.0)
    model.termination.has_seen_termination = True  # before that everything continues
    model.elites = torch.tensor([0, 2])
    model.fold_weights()

    obs, action = 3.0 * draw(7, 3), draw(7, 2)
    x = torch.cat([(obs - norm.obs.mean) / norm.obs.std, action], -1)
    out = net.mlp(x.T.expand(3, -1, -1))[[0, 2]].mT  # [2, 7, D] of the elites
    mean = obs + out[..., :3] * norm.change.std + norm.change.mean  # [2, 7, 3]
    next_obs, step = one_step(model, obs, action, generator)  # [7, P = 2, 3]
    by_elite = next_obs.transpose(0, 1)
    normalized = (by_elite - norm.obs.mean) / norm.obs.std
    logits = model.termination.net(normalized[[0, 0, 1]].mT)  # of all members; 1 is no elite
    continues = log_continue_probability(logits).exp()[[0, 2]]
    close = {"rtol": 1e-5, "atol": 1e-5}
    reward = out[..., 3] * norm.reward.std + norm.reward.mean
    torch.testing.assert_close(step.reward.T, reward, **close)
    torch.testing.assert_close(step.continues.T, continues, **close)
    prediction = model.predict(obs, action)
    torch.testing.assert_close(prediction.mean, mean.mean(0), **close)
    if head == "point":
        torch.testing.assert_close(by_elite, mean, **close)
    else:
        low, high = net.min_log_variance[[0, 2]].mT, net.max_log_variance[[0, 2]].mT  # [2, 1, 3]
        log_variance = bounded_log_variance(out[..., -3:], low, high)
        variance = log_variance.exp() * norm.change.std.square()
        total = variance.mean(0) + mean.var(0, unbiased=False)
        torch.testing.assert_close(prediction.std, total.sqrt(), **close)


def test_expectation_is_the_mean_of_the_members(make_spec, make_ensemble, one_step, generator):
    model = make_ensemble(make_spec(2), num_members=3, num_elites=3, num_particles=3)
    logits = [0.0, math.log(3.0), -math.log(3.0)]  # probabilities 0.5, 0.75, 0.25
    constant_members(model, [1.0, 10.0, 100.0], [0.0, 3.0, 6.0], logits)
    model.termination.has_seen_termination = True
    next_obs, step = one_step(model, torch.zeros(2, 2), torch.zeros(2, 1), generator)
    assert model.num_particles == 1
    assert next_obs.flatten().tolist() == pytest.approx([37.0] * 4)
    assert step.reward.flatten().tolist() == pytest.approx([3.0] * 2)
    assert step.continues.flatten().tolist() == pytest.approx([0.5] * 2)
    # Disagreement: the standard deviation of 1, 10, 100, relative to that of the data (1 here).
    start = model.branch({"obs": torch.zeros(2, 2)}, 1)
    trajectories = model.unroll(start, torch.zeros(4, 2, 1), generator, with_disagreement=True)
    expected = [np.std([1, 10, 100])] * 8
    assert trajectories.disagreement.flatten().tolist() == pytest.approx(expected)


def test_a_particle_keeps_its_member_under_ts_inf(make_spec, make_ensemble, generator):
    model = make_ensemble(
        make_spec(), num_members=3, num_elites=3, num_particles=6, propagation="ts_inf"
    )
    constant_members(model, [1.0, 10.0, 100.0], rewards=[1.0, 10.0, 100.0])
    obs, rewards = rollout(model, 4, generator)
    expected = [4.0, 4.0, 40.0, 40.0, 400.0, 400.0]  # 4 steps; particle e * 2 + j, member e
    assert obs[-1, ..., 0].tolist() == [expected, expected]
    assert rewards.sum(0).tolist() == [expected, expected]


def test_particles_change_members_under_ts1_and_get_their_own_rewards(
    make_spec, make_ensemble, generator
):
    model = make_ensemble(
        make_spec(), num_members=3, num_elites=3, num_particles=6, propagation="ts1"
    )
    constant_members(model, [1.0, 10.0, 100.0])
    with torch.no_grad():
        model.net.mlp.skip[:, 1, 0] = 1.0  # reward = obs + the member's own change
        model.net.mlp.biases[-1][:, 1, 0] = torch.tensor([1.0, 10.0, 100.0])
    model.fold_weights()
    obs, rewards = rollout(model, 5, generator)
    assert torch.equal(rewards, obs[1:, ..., 0])
    # At every step each member moves two of the six particles.
    moves = obs[1:] - obs[:-1]
    assert moves[..., 0].sort(-1).values[:, 0].tolist() == [[1, 1, 10, 10, 100, 100]] * 5
    # No particle keeps its member for all steps: it would have moved by 5, 50 or 500.
    assert not set(obs[-1, 0, :, 0].tolist()) & {5.0, 50.0, 500.0}


@pytest.mark.parametrize("propagation", ["ts_inf", "ts1"])
def test_a_particle_gets_the_noise_of_the_member_that_moved_it(
    make_spec, make_ensemble, generator, propagation
):
    model = make_ensemble(
        make_spec(), head="gaussian", num_members=2, num_elites=2, num_particles=2000,
        propagation=propagation,
    )  # fmt: skip
    # Member 0 moves by 0 with almost no noise, member 1 by 100 with standard deviation 1. The raw
    # log variance of 50 is far above the bounds, so that each member is at its upper bound.
    constant_members(model, [0.0, 100.0], log_variance=50.0)
    set_log_variance_bounds(model, low=[-40.0, -40.0], high=[-20.0, 0.0])
    obs, _ = rollout(model, 1, generator, rows=1)
    moved = obs[1, 0, :, 0]
    certain, noisy = moved[moved < 50.0], moved[moved > 50.0]
    assert len(certain) == len(noisy) == 1000
    assert float(certain.abs().max()) < 1e-3  # e^-10 = 4.5e-5 times at most about 4
    assert float(noisy.std()) == pytest.approx(1.0, abs=0.1)


def test_common_noise_is_the_same_for_all_rows(make_spec, make_ensemble, one_step, generator):
    model = make_ensemble(
        make_spec(), head="gaussian", num_members=2, num_elites=2, num_particles=4,
        propagation="ts_inf",
    )  # fmt: skip
    obs, action = torch.zeros(5, 1), torch.zeros(5, 1)
    common, _ = one_step(model, obs, action, generator, common_noise=True)
    assert torch.equal(common, common[:1].expand_as(common))
    own, _ = one_step(model, obs, action, generator, common_noise=False)
    for noise in (common[:1], own):  # each particle has its own noise in both cases
        assert len(set(noise.flatten().tolist())) == noise.numel()


def test_integer_observations_get_no_noise(make_spec, make_ensemble, one_step, generator):
    model = make_ensemble(
        make_spec(2, integer=True), head="gaussian", num_members=2, num_elites=2, num_particles=4,
        propagation="ts_inf",
    )  # fmt: skip
    set_log_variance_bounds(model, low=[4.0, 4.0], high=[5.0, 5.0])  # deviation at least e^2
    obs, _ = one_step(model, torch.zeros(5, 2), torch.zeros(5, 1), generator)
    assert torch.equal(obs[:, 0], obs[:, 1])  # particles of one member agree
    assert torch.equal(obs, obs.round())


def test_the_variance_of_the_mixture_is_noise_plus_disagreement(make_spec, make_ensemble):
    model = make_ensemble(
        make_spec(), head="gaussian", num_members=2, num_elites=2, num_particles=2
    )
    constant_members(model, [-2.0, 2.0], log_variance=50.0)
    set_log_variance_bounds(model, low=[-40.0, -40.0], high=[2.0 * math.log(1.5)] * 2)
    prediction = model.predict(torch.full((1, 1), 7.0), torch.zeros(1, 1))
    assert float(prediction.mean) == pytest.approx(7.0)
    assert float(prediction.std) == pytest.approx(2.5)  # 1.5^2 + 2^2 = 2.5^2
    assert float(prediction.disagreement) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("integer", "expected"), [(False, [1.4, 3.4]), (True, [1.0, 3.0]), ((False, True), [1.4, 3.0])]
)
def test_integer_observations_are_rounded(
    make_spec, make_ensemble, one_step, generator, integer, expected
):
    model = constant_members(make_ensemble(make_spec(2, integer=integer)), [0.4])
    next_obs, _ = one_step(model, torch.tensor([[1.0, 3.0]]), torch.zeros(1, 1), generator)
    assert next_obs.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("propagation", ["expectation", "ts_inf", "ts1"])
def test_known_functions_replace_learned_ones_and_get_the_rounded_observation(
    make_spec, make_ensemble, one_step, generator, propagation
):
    spec = make_spec(
        2,
        integer=True,
        known_reward=lambda obs, action, next_obs: (
            100 * obs[..., 0] + 10 * next_obs[..., 1] + action[..., 0]
        ),
        known_termination=lambda obs, action, next_obs: next_obs[..., 0] > 2.0,
    )
    model = make_ensemble(
        spec, num_members=2, num_elites=2, num_particles=4, propagation=propagation
    )
    constant_members(model, [0.7, 0.7], rewards=[-5.0, -5.0], continue_logits=[-9.0, 9.0])
    obs, action = torch.tensor([[1.0, 3.0], [2.0, 4.0]]), torch.tensor([[0.5], [-0.5]])
    _, step = one_step(model, obs, action, generator)
    particles = model.num_particles
    assert step.reward.tolist() == [[140.5] * particles, [249.5] * particles]
    assert step.continues.tolist() == [[1.0] * particles, [0.0] * particles]
