"""Models recover what can be derived by hand, and imagine what their members say."""

import copy
import math

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError
from mbrl_cli.models.accuracy import measure_accuracy
from mbrl_cli.models.fitting import FitSettings, fit_members
from mbrl_cli.models.linear import Linear
from mbrl_cli.models.oracle import Oracle
from mbrl_cli.models.targets import MAX_TERMINATION_WEIGHT, Targets
from mbrl_cli.nets.termination import log_continue_probability, termination_loss
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Batch

CPU = torch.device("cpu")


def make_linear(spec, ridge=1e-9, accuracy_horizon=1):
    return Linear(spec, CPU, torch.Generator(), ridge, accuracy_horizon)


def one_step(model, obs, action, generator, **options):
    """Imagine one step from obs [B, O] with one plan each; return obs [B, P, O] and Step."""
    state = model.observe(model.initial(len(obs)), action, obs)
    step = model.step(model.branch(state, 1), action, generator, **options)
    return model.decode(step.state), step


def still(obs, action, rng):
    return obs, 0.0, False


# --- linear -----------------------------------------------------------------------------------

A = np.array([[0.9, 0.2], [-0.3, 1.1]])
B = np.array([[0.5], [-2.0]])
SHIFT = np.array([0.3, 0.0])


def linear_system(obs, action, rng):
    reward = 2.0 * obs[0] - obs[1] + 3.0 * action[0] - 4.0
    return A @ obs + B @ action + SHIFT, reward, False


def test_linear_recovers_a_linear_system_and_its_reward(make_spec, fill, generator):
    replay = fill(linear_system, 20, 10, lambda rng: rng.uniform(-1, 1, 2))
    model = make_linear(make_spec(2))
    metrics = model.fit(replay, generator)
    obs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    action = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    next_obs, step = one_step(model, obs, action, generator)
    at_zero, *columns = next_obs[:, 0].numpy()
    np.testing.assert_allclose(at_zero, SHIFT, atol=1e-4)
    np.testing.assert_allclose(
        np.stack(columns, 1) - at_zero[:, None], np.hstack([A, B]), atol=1e-4
    )
    assert step.reward[:, 0].tolist() == pytest.approx([-4.0, -2.0, -5.0, -1.0], abs=1e-3)
    assert step.continues[:, 0].tolist() == pytest.approx([1.0] * 4, abs=1e-4)
    assert metrics["error_k1"] < 1e-4 < metrics["baseline_k1"]


def test_a_ridge_of_one_halves_a_weight_of_normalised_data(make_spec, generator):
    # obs +-1 with change +-1: normalised x = y = +-1, so the weight is x'y / (x'x + n) = 1/2.
    replay = ReplayBuffer(100, 1, 1, 0.0)
    for i in range(100):
        obs = np.array([1.0 if i % 2 else -1.0])
        replay.add(obs, np.zeros(1), 0.0, 2 * obs, False, i == 99)
    model = make_linear(make_spec(), ridge=1.0)
    model.fit(replay, generator)
    next_obs, _ = one_step(model, torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1), generator)
    assert next_obs.flatten().tolist() == pytest.approx([1.5, -1.5], abs=1e-6)


def test_linear_clips_the_chance_to_go_on(make_spec, generator):
    # Steps from obs 1 end the task, steps from obs 0 never: the fitted line is 1 - obs.
    replay = ReplayBuffer(100, 1, 1, 0.0)
    for i in range(100):
        replay.add(np.array([i % 2]), np.zeros(1), 0.0, np.array([i % 2]), bool(i % 2), False)
    model = make_linear(make_spec())
    model.fit(replay, generator)
    obs = torch.tensor([[-1.0], [0.0], [0.25], [1.0], [3.0]])
    _, step = one_step(model, obs, torch.zeros(5, 1), generator)
    assert step.continues[:, 0].tolist() == pytest.approx([1.0, 1.0, 0.75, 0.0, 0.0], abs=1e-4)


# --- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "ends", "weight"),
    [(100, 20, 4.0), (100, 80, 1.0), (100_000, 1, MAX_TERMINATION_WEIGHT), (9, 0, 1.0)],
)
def test_ends_weigh_as_much_as_all_other_transitions_up_to_a_limit(make_spec, rows, ends, weight):
    terminated = torch.zeros(rows)
    terminated[:ends] = 1.0
    zeros = torch.zeros(rows, 1)
    targets = Targets(make_spec(), CPU)
    targets.fit(Batch(zeros, zeros, terminated, zeros, terminated))
    assert targets.termination_weight == weight  # 80 / 20; never below 1; cut; nothing to balance


def test_no_reward_is_believed_that_lies_outside_all_that_were_paid(make_spec):
    zeros = torch.zeros(3, 1)
    targets = Targets(make_spec(), CPU)
    predicted = torch.tensor([-9.0, 0.5, 9.0, math.inf, math.nan])
    assert targets.limit_reward(predicted).tolist()[:3] == [-9.0, 0.5, 9.0]  # nothing seen yet
    targets.fit(Batch(zeros, zeros, torch.tensor([-1.0, 0.0, 2.0]), zeros, torch.zeros(3)))
    restored = Targets(make_spec(), CPU)
    restored.load_state_dict(targets.state_dict())
    limited = restored.limit_reward(predicted).tolist()
    assert limited == pytest.approx([-1.0, 0.5, 2.0, math.nan, math.nan], nan_ok=True)


def test_an_end_counts_as_often_as_its_weight_says():
    # Chance to go on 1/2 in every row: each costs ln 2, the one end in four counts 5 times.
    logits = torch.zeros(2, 1, 4)
    continues = torch.tensor([[1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    loss = termination_loss(logits, continues, 5.0)
    assert loss.tolist() == pytest.approx([8 / 4 * math.log(2), math.log(2)])


def test_an_impossible_end_costs_much_but_not_infinitely_much():
    loss = termination_loss(torch.tensor([[[40.0]]]), torch.tensor([[0.0]]), 1.0)
    assert 10.0 < float(loss) < 100.0


def test_a_held_out_episode_never_reaches_a_fit(make_spec, fill, generator):
    """Garbage in the held-out episodes changes neither the statistics nor the weights."""

    def garbage(obs, action, rng):
        return (obs * 0 + 1e6, 1e6, False) if obs[0] > 100 else linear_system(obs, action, rng)

    def fitted(held_out_start):
        episode = iter(range(-1, 1000))  # the first draw of a start is for the shape only

        def start(rng):
            clean = rng.uniform(-1, 1, 2)
            return clean + (held_out_start if next(episode) % 5 == 1 else 0.0)

        model = make_linear(make_spec(2))
        replay = fill(garbage, 20, 10, start, holdout_ratio=0.2)
        assert len(replay.split()[1]) == 4 * 10
        model.fit(replay, generator)
        return model

    clean, poisoned = fitted(0.0), fitted(1e5)
    assert torch.equal(clean.weight, poisoned.weight)
    assert torch.equal(clean.targets.obs.mean, poisoned.targets.obs.mean)


# --- ensemble: weights by hand ----------------------------------------------------------------


def constant_members(model, deltas, rewards=None, continue_logits=None, log_variance=None):
    """Make member e predict the change deltas[e] in every entry, and so on, whatever the input."""
    obs_dim = model.spec.obs_dim
    with torch.no_grad():
        for parameter in [*model.net.parameters(), *model.ending.parameters()]:
            parameter.zero_()
        model.ending.b2.fill_(50.0)  # every factor of the chance to go on is 1
        bias = model.net.biases[-1][..., 0]  # [E, D]
        bias[:, :obs_dim] = torch.tensor(deltas, dtype=torch.float32)[:, None]
        if rewards is not None:
            bias[:, obs_dim] = torch.tensor(rewards, dtype=torch.float32)
        if continue_logits is not None:
            model.ending.b2[:, 0, 0] = torch.tensor(continue_logits, dtype=torch.float32)
        if log_variance is not None:
            bias[:, -obs_dim:] = log_variance
    model._prepare()
    return model


@pytest.mark.parametrize("head", ["point", "gaussian"])
@pytest.mark.parametrize("activation", ["silu", "relu", "tanh", "elu"])
def test_planning_weights_equal_normalising_by_hand(
    make_spec, make_ensemble, generator, head, activation
):
    model = make_ensemble(
        make_spec(3, 2), head=head, activation=activation, num_members=3, num_elites=2,
        num_particles=2, propagation="ts_inf", hidden=[8, 8],
    )  # fmt: skip

    def draw(*shape, low=-1.0, high=1.0):
        return torch.empty(shape).uniform_(low, high, generator=generator)

    with torch.no_grad():
        model.net.skip.copy_(draw(*model.net.skip.shape))
        model.max_logvar.copy_(draw(3, 3, 1))
        model.min_logvar.copy_(draw(3, 3, 1) - 4.0)
    t = model.targets
    for normalizer, size in ((t.obs, 3), (t.delta, 3), (t.reward, 1)):
        normalizer.mean, normalizer.std = draw(size), draw(size, low=0.3, high=3.0)
    model.targets.ends_seen = True  # until then everything goes on
    model.best = torch.tensor([0, 2])
    model._prepare()

    obs, action = 3.0 * draw(7, 3), draw(7, 2)
    x = torch.cat([(obs - t.obs.mean) / t.obs.std, action], -1)
    plain = model.net(x.T.expand(3, -1, -1))[[0, 2]].mT  # [2, 7, D] of the members in use
    mean = obs + plain[..., :3] * t.delta.std + t.delta.mean  # [2, 7, 3]
    next_obs, step = one_step(model, obs, action, generator)  # [7, P = 2, 3]
    reached = next_obs.transpose(0, 1)
    logits = model.ending(((reached - t.obs.mean) / t.obs.std)[[0, 0, 1]].mT)
    chance = log_continue_probability(logits).exp()[[0, 2]]
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(step.reward.T, plain[..., 3] * t.reward.std + t.reward.mean, **close)
    torch.testing.assert_close(step.continues.T, chance, **close)
    prediction = model.predict(obs, action)
    torch.testing.assert_close(prediction.mean, mean.mean(0), **close)
    if head == "point":
        torch.testing.assert_close(reached, mean, **close)
    else:
        high, low = model.max_logvar[[0, 2]].mT, model.min_logvar[[0, 2]].mT  # [2, 1, 3]
        raw = plain[..., -3:]
        logvar = high - nn.functional.softplus(high - raw)
        logvar = low + nn.functional.softplus(logvar - low)
        variance = logvar.exp() * t.delta.std.square()
        total = variance.mean(0) + mean.var(0, unbiased=False)
        torch.testing.assert_close(prediction.std, total.sqrt(), **close)


def test_expectation_is_the_mean_of_the_members(make_spec, make_ensemble, generator):
    model = make_ensemble(make_spec(2), num_members=3, num_elites=3, num_particles=3)
    logits = [0.0, math.log(3.0), -math.log(3.0)]  # 0.5, 0.75, 0.25
    constant_members(model, [1.0, 10.0, 100.0], [0.0, 3.0, 6.0], logits)
    model.targets.ends_seen = True
    next_obs, step = one_step(model, torch.zeros(2, 2), torch.zeros(2, 1), generator)
    assert model.num_particles == 1
    assert next_obs.flatten().tolist() == pytest.approx([37.0] * 4)
    assert step.reward.flatten().tolist() == pytest.approx([3.0] * 2)
    assert step.continues.flatten().tolist() == pytest.approx([0.5] * 2)
    # The members' spread: deviation of 1, 10, 100 in units of the data's (1 here).
    start = model.branch({"obs": torch.zeros(2, 2)}, 1)
    unrolled = model.unroll(start, torch.zeros(4, 2, 1), generator, with_disagreement=True)
    assert unrolled.disagreement.flatten().tolist() == pytest.approx([np.std([1, 10, 100])] * 8)


def rollout(model, steps, generator, rows=2):
    """Return the obs after each step [steps + 1, M, P, O] and the rewards [steps, M, P]."""
    state = model.branch({"obs": torch.zeros(rows, model.spec.obs_dim)}, 1)
    obs, rewards = [model.decode(state)], []
    for _ in range(steps):
        state, reward, _ = model.step(state, torch.zeros(rows, 1), generator)
        obs.append(model.decode(state))
        rewards.append(reward)
    return torch.stack(obs), torch.stack(rewards)


def test_a_particle_keeps_its_member_under_ts_inf(make_spec, make_ensemble, generator):
    model = make_ensemble(
        make_spec(), num_members=3, num_elites=3, num_particles=6, propagation="ts_inf"
    )
    constant_members(model, [1.0, 10.0, 100.0], rewards=[1.0, 10.0, 100.0])
    obs, rewards = rollout(model, 4, generator)
    expected = [4.0, 4.0, 40.0, 40.0, 400.0, 400.0]  # 4 steps; particle e * 2 + j, member e
    assert obs[-1, ..., 0].tolist() == [expected, expected]
    assert rewards.sum(0).tolist() == [expected, expected]


def test_particles_change_members_under_ts1_and_rewards_go_back_to_the_right_one(
    make_spec, make_ensemble, generator
):
    model = make_ensemble(
        make_spec(), num_members=3, num_elites=3, num_particles=6, propagation="ts1"
    )
    constant_members(model, [1.0, 10.0, 100.0])
    with torch.no_grad():
        model.net.skip[:, 1, 0] = 1.0  # reward = obs + the member's own change
        model.net.biases[-1][:, 1, 0] = torch.tensor([1.0, 10.0, 100.0])
    model._prepare()
    obs, rewards = rollout(model, 5, generator)
    assert torch.equal(rewards, obs[1:, ..., 0])
    # At every step each member moves two of the six particles ...
    moves = obs[1:] - obs[:-1]
    assert moves[..., 0].sort(-1).values[:, 0].tolist() == [[1, 1, 10, 10, 100, 100]] * 5
    # ... and none of them stays with one member: that would be 5, 50 or 500 for it.
    assert not set(obs[-1, 0, :, 0].tolist()) & {5.0, 50.0, 500.0}


@pytest.mark.parametrize("propagation", ["ts_inf", "ts1"])
def test_a_particle_gets_the_noise_of_the_member_that_moved_it(
    make_spec, make_ensemble, generator, propagation
):
    model = make_ensemble(
        make_spec(), head="gaussian", num_members=2, num_elites=2, num_particles=2000,
        propagation=propagation,
    )  # fmt: skip
    # Member 0 moves by 0 and is sure, member 1 moves by 100 with noise of deviation 1: the
    # predicted log variance (+50) is far above the bounds, so each member is at its upper one.
    constant_members(model, [0.0, 100.0], log_variance=50.0)
    with torch.no_grad():
        model.max_logvar.copy_(torch.tensor([-20.0, 0.0]).view(2, 1, 1))
        model.min_logvar.fill_(-40.0)
    model._prepare()
    obs, _ = rollout(model, 1, generator, rows=1)
    moved = obs[1, 0, :, 0]
    sure, noisy = moved[moved < 50.0], moved[moved > 50.0]
    assert len(sure) == len(noisy) == 1000
    assert float(sure.abs().max()) < 1e-3  # e^-10 = 4.5e-5 times at most about 4
    assert float(noisy.std()) == pytest.approx(1.0, abs=0.1)


def test_common_noise_is_the_same_for_all_rows(make_spec, make_ensemble, generator):
    model = make_ensemble(
        make_spec(), head="gaussian", num_members=2, num_elites=2, num_particles=4,
        propagation="ts_inf",
    )  # fmt: skip
    same, _ = one_step(model, torch.zeros(5, 1), torch.zeros(5, 1), generator, common_noise=True)
    assert torch.equal(same, same[:1].expand_as(same))
    own, _ = one_step(model, torch.zeros(5, 1), torch.zeros(5, 1), generator, common_noise=False)
    for noise in (same[:1], own):  # and each particle has its own
        assert len(set(noise.flatten().tolist())) == noise.numel()


def test_the_mixture_adds_noise_and_disagreement(make_spec, make_ensemble):
    model = make_ensemble(
        make_spec(), head="gaussian", num_members=2, num_elites=2, num_particles=2
    )
    constant_members(model, [-2.0, 2.0], log_variance=50.0)
    with torch.no_grad():
        model.max_logvar.fill_(2.0 * math.log(1.5))
        model.min_logvar.fill_(-40.0)
    model._prepare()
    prediction = model.predict(torch.full((1, 1), 7.0), torch.zeros(1, 1))
    assert float(prediction.mean) == pytest.approx(7.0)
    assert float(prediction.std) == pytest.approx(2.5)  # 1.5^2 + 2^2 = 2.5^2
    assert float(prediction.disagreement) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("integer", "expected"), [(False, [1.4, 3.4]), (True, [1.0, 3.0]), ((False, True), [1.4, 3.0])]
)
def test_whole_number_observations_are_rounded(
    make_spec, make_ensemble, generator, integer, expected
):
    model = constant_members(make_ensemble(make_spec(2, integer=integer)), [0.4])
    next_obs, _ = one_step(model, torch.tensor([[1.0, 3.0]]), torch.zeros(1, 1), generator)
    assert next_obs.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("propagation", ["expectation", "ts_inf", "ts1"])
def test_known_functions_replace_what_was_learned_and_see_the_rounded_observation(
    make_spec, make_ensemble, generator, propagation
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


def test_a_known_reward_and_termination_are_not_fitted(make_spec, make_ensemble, fill, generator):
    """With known functions the data's rewards and ends, here wild, move no weight at all."""

    def wild(obs, action, rng):
        return obs + action, float(rng.normal()) * wildness, bool(rng.random() < 0.05 * wildness)

    zeros = {
        f"known_{name}": lambda obs, action, next_obs: next_obs[..., 0] * 0.0
        for name in ("reward", "termination")
    }
    weights = []
    for wildness in (0.0, 1.0):  # noqa: B007 (read by `wild`)
        model = make_ensemble(make_spec(**zeros), max_steps=20)
        # One-step episodes: an early end then changes no other transition.
        model.fit(fill(wild, 50, 1, lambda rng: rng.uniform(-1, 1, 1)), generator.manual_seed(1))
        weights.append(model.net.skip[..., :1].detach().clone())
    assert torch.equal(*weights)


def test_an_ensemble_refuses_counts_that_do_not_fit(make_spec, make_ensemble):
    with pytest.raises(UserError, match=r"model\.num_elites=3: more than model\.num_members=2"):
        make_ensemble(make_spec(), num_members=2, num_elites=3)
    with pytest.raises(UserError, match=r"model\.num_particles=5: must be a multiple .*=2"):
        make_ensemble(make_spec(), num_members=2, num_elites=2, num_particles=5, propagation="ts1")


# --- fitting ----------------------------------------------------------------------------------


def settings(**changes):
    base = {
        "batch_size": 4, "max_steps": 1000, "check_every": 10, "patience": 2,
        "learning_rate": 0.1, "weight_decay": 0.0, "bootstrap": False,
    }  # fmt: skip
    return FitSettings(**base | changes)


def fit_towards_ten(generator, judged, members=2, **changes):
    """Pull one weight a member from 0 towards 10, about 1 between checks; `judged` maps it to [E].

    Return the weights [E] that were kept, the result and the weights seen at each check.
    """
    weight = nn.Parameter(torch.zeros(members, 1, 1))
    seen = []

    def training(x, y):
        assert (x == 0.0).all()
        return (weight - 10.0).square().flatten()

    def judging(x, y):
        assert (x == 1.0).all()
        seen.append(weight.detach().flatten().clone())
        return judged(seen[-1], len(seen))

    train, holdout = ((torch.full((8, 1), value),) * 2 for value in (0.0, 1.0))
    result = fit_members(
        [weight], training, judging, train, holdout, members, settings(**changes), generator
    )
    return weight.detach().flatten(), result, torch.stack(seen)


def test_each_member_keeps_its_own_best_weights_and_the_fit_stops_after_the_last_gain(generator):
    goals = torch.tensor([3.0, 5.0])
    kept, result, seen = fit_towards_ten(generator, lambda w, check: (w - goals).square())
    # AdamW moves by the learning rate, so the checks see about 1, 2, 3, ... (measured 2.9, 4.6).
    assert kept.tolist() == pytest.approx([3.0, 5.0], abs=0.5)
    assert kept.tolist() == [float(seen[2, 0]), float(seen[4, 1])]
    assert result.steps == (5 + 2) * 10  # last gain at the fifth check, then patience
    assert result.holdout_loss.tolist() == pytest.approx(((kept - goals) ** 2).tolist())


def test_nan_is_never_better(generator):
    def judged(weight, check):
        loss = (weight - 9.0).square()
        loss[0] = float("nan") if check in (2, 3) else loss[0]
        loss[1] = float("nan") if check >= 3 else loss[1]
        return loss

    kept, result, seen = fit_towards_ten(generator, judged, max_steps=50)
    assert kept.tolist() == [float(seen[4, 0]), float(seen[1, 1])]
    assert result.holdout_loss.isfinite().all()


def test_without_held_out_data_a_fit_takes_all_its_steps(generator):
    weight = nn.Parameter(torch.zeros(1, 1, 1))

    def loss(x, y):
        return (weight - 10.0).square().flatten()

    data = (torch.zeros(8, 1), torch.zeros(8, 1))
    result = fit_members([weight], loss, loss, data, None, 1, settings(max_steps=30), generator)
    assert result.steps == 30
    assert result.holdout_loss is None
    assert weight.item() > 1.5  # 30 steps of 0.1 falling to 0.01: 1.65 in sum


@pytest.mark.parametrize("held_out", [True, False])
def test_a_member_that_diverges_gets_its_last_good_weights_back(generator, held_out):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]).view(2, 1, 1))
    calls = []

    def loss(x, y):
        calls.append(1)
        wild = torch.tensor([1.0, float("nan") if len(calls) > 25 else 1.0])
        return (weight.flatten() - 10.0).square() * wild

    def judged(x, y):
        return (weight.detach().flatten() - 10.0).square()

    data = (torch.zeros(8, 1), torch.zeros(8, 1))
    holdout = data if held_out else None
    chosen = settings(max_steps=30, check_every=10)
    result = fit_members([weight], loss, judged, data, holdout, 2, chosen, generator)
    assert result.rolled_back == 1
    good, rolled_back = weight.flatten().tolist()
    assert good > 2.5  # 1 + 30 steps of 0.1 falling to 0.01: 2.65
    # Its best weights of this fit, 20 steps after 2, or where nothing was held out those before it.
    assert rolled_back == pytest.approx(3.5, abs=0.2) if held_out else rolled_back == 2.0


@pytest.mark.parametrize("bootstrap", [True, False])
def test_members_see_their_own_resample_of_the_data(generator, bootstrap):
    rows = torch.arange(1000.0)[:, None]
    weight = nn.Parameter(torch.zeros(3, 1, 1))
    seen = [set() for _ in range(3)]

    def loss(x, y):
        assert torch.equal(x, y)  # inputs and targets stay together
        for member, values in zip(seen, x.flatten(1).tolist(), strict=True):
            member.update(values)
        return weight.flatten()

    chosen = settings(bootstrap=bootstrap, batch_size=200, max_steps=60)
    fit_members([weight], loss, loss, (rows, rows), None, 3, chosen, generator)
    if bootstrap:  # 1 - 1/e = 632 distinct rows of 1000, +- 10, and 632^2 / 1000 = 400 shared
        assert [len(member) for member in seen] == pytest.approx([632] * 3, abs=50)
        assert len(seen[0] & seen[1]) == pytest.approx(400, abs=50)
    else:  # 12,000 draws miss one of 1000 rows with 0.6 %
        assert seen[0] == seen[1] == seen[2] == set(rows.flatten().tolist())


# --- ensemble: learning -----------------------------------------------------------------------


def test_a_network_learns_a_nonlinear_system_and_when_it_ends(
    make_spec, make_ensemble, fill, generator
):
    def system(obs, action, rng):
        next_obs = obs + 0.3 * np.sin(3.0 * obs) + 0.2 * action
        return next_obs, float(np.cos(obs[0])), bool(next_obs[0] > 1.0)

    replay = fill(system, 60, 10, lambda rng: rng.uniform(-1, 0.9, 1))
    model = make_ensemble(
        make_spec(), num_members=2, num_elites=2, bootstrap=True, hidden=[32, 32], max_steps=600
    )
    metrics = model.fit(replay, generator)
    # In data deviations: no change 0.29, a linear fit 0.22, measured 0.005 to 0.014 on 4 seeds.
    assert metrics["error_k1"] < 0.05 < metrics["baseline_k1"]
    obs = torch.tensor([[0.0], [0.3], [0.95]])
    next_obs, step = one_step(model, obs, torch.full((3, 1), 0.5), generator)
    expected = obs + 0.3 * torch.sin(3.0 * obs) + 0.1  # 0.1, 0.635, 1.136: the last one ends
    torch.testing.assert_close(next_obs[:, 0], expected, atol=0.05, rtol=0.0)
    torch.testing.assert_close(step.reward, torch.cos(obs), atol=0.1, rtol=0.0)
    assert (step.continues[:, 0] > 0.5).tolist() == [True, True, False]


@pytest.mark.parametrize("nll_beta", [0.0, 0.5])
def test_a_gaussian_head_learns_the_noise_of_the_data(
    make_spec, make_ensemble, fill, generator, nll_beta
):
    def noisy(obs, action, rng):
        return obs + 0.5 * action + 0.2 * np.exp(action) * rng.normal(size=1), 0.0, False

    replay = fill(noisy, 100, 20, lambda rng: rng.uniform(-1, 1, 1))
    model = make_ensemble(make_spec(), head="gaussian", propagation="ts_inf", nll_beta=nll_beta)
    for _ in range(3):  # held-out squared error may stop one fit before the variance is learned
        metrics = model.fit(replay, generator)
    action = torch.tensor([[-0.7], [0.7]])
    std = model.predict(torch.zeros(2, 1), action).std.flatten().tolist()
    assert std == pytest.approx([0.099, 0.403], rel=0.15)  # 12 runs: 0.085-0.104, 0.371-0.450
    # A calibrated Gaussian: 0.683 and 0.954; 256 windows leave +- 0.03 and +- 0.013.
    assert metrics["coverage_1sigma"] == pytest.approx(0.683, abs=0.09)
    assert metrics["coverage_2sigma"] == pytest.approx(0.954, abs=0.04)
    # What is imagined is as noisy as what is predicted.
    imagined, _ = one_step(model, torch.zeros(4000, 1), action[1:].expand(4000, 1), generator)
    assert float(imagined.std()) == pytest.approx(std[1], rel=0.05)


def test_the_members_in_use_are_those_with_the_lowest_held_out_loss(
    make_spec, make_ensemble, fill, generator
):
    replay = fill(
        lambda obs, action, rng: (obs + np.sin(5.0 * obs), 0.0, False), 20, 5,
        lambda rng: rng.uniform(-1, 1, 1),
    )  # fmt: skip
    model = make_ensemble(make_spec(), num_members=4, num_elites=2, max_steps=60, bootstrap=True)
    metrics = model.fit(replay, generator)
    losses = [metrics[f"holdout_loss/member_{member}"] for member in range(4)]
    assert model.best.tolist() == sorted(np.argsort(losses)[:2].tolist())
    assert metrics["holdout_loss"] == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("head", ["point", "gaussian"])
def test_fit_from_scratch_forgets_earlier_fits(make_spec, make_ensemble, fill, head, generator):
    def replay(slope):
        return fill(
            lambda obs, action, rng: (slope * obs + 0.1 * rng.normal(size=1), 0.0, False), 10, 10,
            lambda rng: rng.uniform(-1, 1, 1),
        )  # fmt: skip

    fresh, used = (make_ensemble(make_spec(), head=head, fit_from="scratch") for _ in range(2))
    used.fit(replay(-0.9), generator)
    for model in (fresh, used):
        model.fit(replay(0.5), torch.Generator().manual_seed(1))
    x = torch.linspace(-1, 1, 5)[:, None]
    for left, right in zip(fresh.predict(x, 0 * x), used.predict(x, 0 * x), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize(("fit_from", "goes_on"), [("last", True), ("scratch", False)])
def test_a_fit_goes_on_from_the_last_weights_if_told_so(
    make_spec, make_ensemble, fill, generator, fit_from, goes_on
):
    replay = fill(
        lambda obs, action, rng: (obs + np.sin(3.0 * obs), 0.0, False), 20, 5,
        lambda rng: rng.uniform(-1, 1, 1),
    )  # fmt: skip
    model = make_ensemble(make_spec(), fit_from=fit_from, learning_rate=1e-3, max_steps=1)
    model.fit(replay, generator)
    before = [parameter.detach().clone() for parameter in model.net.parameters()]
    model.fit(replay, generator)
    moved = max(
        float((new - old).detach().abs().max())
        for new, old in zip(model.net.parameters(), before, strict=True)
    )
    # AdamW's first step moves a weight by the learning rate; new weights are up to 0.7 apart.
    assert (moved < 1.1e-3) == goes_on


# --- accuracy ---------------------------------------------------------------------------------


def counting_replay(lengths=(3, 10, 3)):
    """Return episodes that count up by one from 0; only the second is held out."""
    replay = ReplayBuffer(100, 1, 1, 0.25)
    for length in lengths:
        for step in range(length):
            obs = np.array([float(step)])
            replay.add(obs, np.zeros(1), 0.0, obs + 1, False, step == length - 1)
    return replay


def steps_by(size):
    return lambda obs, action: (obs + size, torch.zeros(obs.shape[:2]), torch.ones(obs.shape[:2]))


SCALE = math.sqrt(8.25)  # deviation of 0, 1, ..., 9: (10^2 - 1) / 12


def test_a_perfect_model_has_no_error_and_the_baseline_is_k_steps(
    make_spec, make_hand_made, generator
):
    model = make_hand_made(
        make_spec(), steps_by(1.0), lambda obs, action: (obs + 1, torch.ones_like(obs))
    )
    metrics = measure_accuracy(model, counting_replay(), 7, generator).metrics
    assert {k: metrics[f"error_k{k}"] for k in (1, 5, 7)} == {1: 0.0, 5: 0.0, 7: 0.0}
    for k in (1, 5, 7):
        assert metrics[f"baseline_k{k}"] == pytest.approx(k / SCALE)


def test_errors_grow_with_the_steps_imagined(make_spec, make_hand_made, generator):
    model = make_hand_made(
        make_spec(), steps_by(0.75), lambda obs, action: (obs, torch.ones_like(obs))
    )
    metrics = measure_accuracy(model, counting_replay(), 0, generator).metrics
    assert metrics["error_k1"] == pytest.approx(0.25 / SCALE)  # a quarter step short each time
    assert metrics["error_k5"] == pytest.approx(1.25 / SCALE)
    assert not any(key.startswith("error_k") and key[7:] not in "15" for key in metrics)


def test_coverage_counts_errors_within_one_and_two_predicted_deviations(
    make_spec, make_hand_made, generator
):
    # The one-step errors are 0, 0.5, ..., 4.5 and the predicted deviation is 2.
    model = make_hand_made(
        make_spec(), steps_by(1.0), lambda obs, action: (1.5 * obs + 1, torch.full_like(obs, 2.0))
    )
    metrics = measure_accuracy(model, counting_replay(), 1, generator).metrics
    assert metrics["coverage_1sigma"] == pytest.approx(0.5)  # up to 2.0: five of ten
    assert metrics["coverage_2sigma"] == pytest.approx(0.9)  # up to 4.0: nine


def test_there_is_no_accuracy_without_long_enough_held_out_episodes(
    make_spec, make_hand_made, generator
):
    model = make_hand_made(
        make_spec(), steps_by(1.0), lambda obs, action: (obs, torch.ones_like(obs))
    )
    assert measure_accuracy(model, counting_replay((9,)), 3, generator) == ({}, {})
    short = measure_accuracy(model, counting_replay((9, 3, 9)), 3, generator).metrics
    assert "error_k3" in short
    assert "error_k5" not in short


# --- saving -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "point", "gaussian"])
def test_a_restored_model_imagines_the_same_numbers(make_spec, make_ensemble, fill, kind):
    def system(obs, action, rng):
        return 0.9 * obs + action + 0.1 * rng.normal(size=2), obs[0], bool(obs[0] > 1.5)

    def build(seed):
        if kind == "linear":
            return make_linear(make_spec(2))
        return make_ensemble(
            make_spec(2), seed, head=kind, num_members=3, num_elites=2, num_particles=4,
            propagation="ts1", max_steps=40,
        )  # fmt: skip

    saved, restored, fresh = build(0), build(1), build(1)
    replay = fill(system, 20, 10, lambda rng: rng.uniform(-1, 1, 2))
    saved.fit(replay, torch.Generator().manual_seed(0))
    restored.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert restored.is_fitted

    obs, action = torch.randn(6, 2, generator=torch.Generator().manual_seed(2)), torch.ones(6, 1)

    def numbers(model):
        next_obs, step = one_step(model, obs, action, torch.Generator().manual_seed(3))
        return torch.cat([p.flatten() for p in (next_obs, step.reward, step.continues,
                                                *model.predict(obs, action))])  # fmt: skip

    assert torch.equal(numbers(saved), numbers(restored))
    assert not torch.equal(numbers(saved), numbers(fresh))


# --- oracle -----------------------------------------------------------------------------------


def one_hot(choice, size):
    return np.eye(size, dtype=np.float32)[choice]


def test_the_oracle_takes_the_real_environment_s_steps_in_one_batch(generator):
    env = make_env("mbrl/GridWorld-v0")
    model = Oracle(env.spec, CPU, generator)
    obs = env.reset(0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        state = model.observe(model.initial(1), torch.zeros(1, 4), torch.from_numpy(obs)[None])
        step = model.step(model.branch(state, 4), torch.eye(4), generator)  # all four moves
        choice = rng.integers(4)
        obs, reward, terminated, truncated = env.step(one_hot(choice, 4))
        assert model.decode(step.state)[choice, 0].tolist() == obs.tolist()
        assert float(step.reward[choice, 0]) == reward
        assert float(step.continues[choice, 0]) == 1.0 - terminated
        if terminated or truncated:
            obs = env.reset(0)


def test_the_oracle_s_particles_have_luck_of_their_own(generator):
    env = make_env("FrozenLake-v1")
    model = Oracle(env.spec, CPU, generator, num_particles=30)
    start = torch.from_numpy(env.reset(0))[None]
    rows = model.branch(model.observe(model.initial(1), torch.zeros(1, 4), start), 2)
    down = torch.eye(4)[[1, 1]]  # both rows go down, and slip left or right
    apart = model.decode(model.step(rows, down, generator).state).argmax(-1)  # [2, 30]
    assert set(apart.flatten().tolist()) == {0, 1, 4}
    assert not torch.equal(apart[0], apart[1])
    alike = model.step(rows, down, generator, common_noise=True).state
    assert torch.equal(*model.decode(alike))
    assert Oracle(make_env("Taxi-v4").spec, CPU, generator, num_particles=30).num_particles == 1


class LuckyWalk(gymnasium.Env):
    """Walk left or right on the whole numbers; luck sometimes doubles a step; 5 ends the task."""

    observation_space = gymnasium.spaces.Box(-20, 20, (1,), dtype=np.float64)
    action_space = gymnasium.spaces.Discrete(2)
    luck = 0.5

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0.0
        return np.array([self.at]), {}

    def step(self, action):
        self.at += (1 if action else -1) * (2 if self.np_random.random() < self.luck else 1)
        return np.array([self.at]), self.at, abs(self.at) >= 5, False, {}


def test_an_oracle_by_copying_steps_as_the_environment_does_and_leaves_it_as_it_is(generator):
    env, twin = Env(LuckyWalk()), Env(LuckyWalk())  # nobody imagines from the twin
    env.gym.luck = twin.gym.luck = 1.0
    model = Oracle(env.spec, CPU, generator)
    obs = env.reset(3)
    assert obs.tolist() == twin.reset(3).tolist()
    rng = np.random.default_rng(0)
    ends = 0
    for k in range(60):
        plan = rng.integers(2, size=3)
        state = model.observe(
            model.initial(1), torch.zeros(1, 2), torch.from_numpy(obs)[None], [env]
        )
        state = model.branch(state, 5)
        for choice in plan:  # row 2 follows the plan, the others go their own ways
            actions = torch.eye(2)[torch.tensor([0, 1, int(choice), 0, 1])]
            state, reward, continues = model.step(state, actions, generator)
        for choice in plan:
            obs, real_reward, terminated, _ = env.step(one_hot(choice, 2))
            other = twin.step(one_hot(choice, 2))
            assert (obs.tolist(), real_reward, terminated) == (other[0].tolist(), *other[1:3])
            if terminated:
                break
        assert model.decode(state)[2, 0].tolist() == obs.tolist()
        assert float(continues[2, 0]) == 1.0 - terminated
        if terminated:
            ends += 1
            obs = env.reset(k)
            twin.reset(k)
        else:
            assert float(reward[2, 0]) == real_reward
    assert ends > 5


def test_an_oracle_by_copying_pays_nothing_after_the_end(generator):
    env = Env(LuckyWalk())
    env.reset(0)
    env.gym.at = 4.0
    model = Oracle(env.spec, CPU, generator)
    state = model.branch(
        model.observe(model.initial(1), torch.zeros(1, 2), torch.tensor([[4.0]]), [env]), 1
    )
    right = torch.tensor([[0.0, 1.0]])
    state, reward, continues = model.step(state, right, generator)
    assert (float(reward) >= 5.0, float(continues)) == (True, 0.0)
    ended_at = model.decode(state).clone()
    state, reward, continues = model.step(state, right, generator)
    assert (float(reward), float(continues)) == (0.0, 0.0)
    assert torch.equal(model.decode(state), ended_at)


def test_an_oracle_by_copying_keeps_several_environments_apart(generator):
    envs = [Env(LuckyWalk()) for _ in range(3)]
    obs = np.stack([env.reset(seed) for seed, env in enumerate(envs)])
    for env, at in zip(envs, (0.0, 2.0, -3.0), strict=True):
        env.gym.at = at
    obs = torch.tensor([[0.0], [2.0], [-3.0]])
    model = Oracle(envs[0].spec, CPU, generator)
    state = model.branch(model.observe(model.initial(3), torch.zeros(3, 2), obs, envs), 2)
    actions = torch.eye(2).repeat(3, 1)  # left and right in each
    state, _, _ = model.step(state, actions, generator)
    imagined = model.decode(state).view(3, 2).tolist()
    for at, (left, right) in zip((0.0, 2.0, -3.0), imagined, strict=True):
        assert at - left in (1.0, 2.0)
        assert right - at in (1.0, 2.0)


def test_an_oracle_by_copying_knows_chance_but_not_what_it_will_bring(generator):
    env, twin = Env(LuckyWalk()), Env(LuckyWalk())
    obs = torch.from_numpy(env.reset(0))[None]
    twin.reset(0)
    model = Oracle(env.spec, CPU, generator)
    start = model.branch(model.observe(model.initial(1), torch.zeros(1, 2), obs, [env]), 200)
    right = torch.tensor([[0.0, 1.0]]).expand(200, -1)
    moved = (model.decode(model.step(start, right, generator).state) - obs).flatten()
    assert set(moved.tolist()) == {1.0, 2.0}
    assert 0.4 < (moved == 2.0).float().mean() < 0.6
    together = model.step(start, right, generator, common_noise=True).state
    assert len(set(model.decode(together).flatten().tolist())) == 1
    for _ in range(20):  # its own luck is what it was
        assert env.step(one_hot(1, 2))[0].tolist() == twin.step(one_hot(1, 2))[0].tolist()
