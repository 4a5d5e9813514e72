"""World models in latent space and Dreamer: the numbers of their parts by hand."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.agents.actions import ActionDistribution
from mbrl_cli.agents.actor_critic import ActorCritic
from mbrl_cli.agents.lambda_returns import lambda_returns
from mbrl_cli.models.rssm import RSSM
from mbrl_cli.nets.categorical_latents import CategoricalLatents
from mbrl_cli.nets.gaussian_latents import GaussianLatents
from mbrl_cli.nets.gradient_clipping import clip_gradients
from mbrl_cli.nets.latent_dynamics import LatentDynamics
from mbrl_cli.nets.two_hot import TwoHot, symexp, symlog
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")
SETTINGS = {
    "size": "tiny", "latents": "categorical", "recurrent": True, "num_particles": 1,
    "batch_size": 4, "sequence_length": 6, "fit_steps": 3, "learning_rate": 1e-3,
    "max_grad_norm": 100.0, "dynamics_scale": 1.0, "representation_scale": 0.1, "free_nats": 1.0,
    "unimix": 0.01, "num_bins": 41, "precision": "float32", "compile": False, "accuracy_horizon": 1,
}  # fmt: skip


@pytest.fixture
def make_rssm(make_spec):
    def make(obs_dim=2, actions=1, seed=0, **changes):
        generator = torch.Generator().manual_seed(seed)
        return RSSM(make_spec(obs_dim, actions), CPU, generator, **{**SETTINGS, **changes})

    return make


def test_lambda_returns_by_hand():
    # R_2 = 1 + 0.5 * 8 = 5; R_1 = 1 + 0.5 (0.5 * 4 + 0.5 * 5) = 3.25;
    # R_0 = 1 + 0.5 (0.5 * 2 + 0.5 * 3.25) = 2.3125
    reward, discount = torch.ones(3, 1), torch.full((3, 1), 0.5)
    found = lambda_returns(reward, discount, torch.tensor([[2.0], [4.0], [8.0]]), 0.5)
    assert found[:, 0].tolist() == [2.3125, 3.25, 5.0]


def test_an_end_cuts_off_what_follows_it():
    discount = torch.tensor([[0.9], [0.0], [0.9]])
    found = lambda_returns(torch.ones(3, 1), discount, torch.full((3, 1), 100.0), 1.0)
    assert found[1] == 1.0
    assert found[0] == pytest.approx(1.9)  # 1 + 0.9 * 1


@pytest.mark.parametrize("number", [0.0, 1.0, -1.0, 0.3, 17.5, -250.0, 9000.0])
@pytest.mark.parametrize("num_bins", [40, 41])
def test_a_number_survives_two_hot(number, num_bins):
    two_hot = TwoHot(num_bins)
    low, weight = two_hot.encode(torch.tensor([number]))
    chance = torch.zeros(1, num_bins)
    chance[0, low], chance[0, low + 1] = 1.0 - weight, weight
    assert two_hot.mean(chance.log()).item() == pytest.approx(number, rel=1e-4, abs=1e-4)


def test_two_hot_by_hand():
    """41 bins, 0.5 apart in symlog: 0.3 lies between the bins 0 and exp(0.5) - 1 = 0.6487."""
    two_hot = TwoHot(41)
    low, weight = two_hot.encode(torch.tensor([0.3]))
    assert low.item() == 20
    assert weight.item() == pytest.approx(0.3 / (math.exp(0.5) - 1.0))
    logits = torch.zeros(1, 41)
    assert two_hot.mean(logits).item() == 0.0  # exactly: an untrained head promises nothing
    assert two_hot.loss(logits, torch.tensor([0.3])).item() == pytest.approx(math.log(41))


def test_the_gradient_of_two_targets_is_chance_less_target_for_each():
    two_hot = TwoHot(5)
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0, 0.5]], requires_grad=True)
    one, other = torch.tensor([float(two_hot.bins[3]) / 4.0]), torch.tensor([0.0])
    loss = two_hot.loss(logits, one, other)
    (gradient,) = torch.autograd.grad(3.0 * loss.sum(), logits)
    wanted = torch.tensor([[0.0, 0.0, 1.75, 0.25, 0.0]])  # 3 / 4 and 1 in the middle, 1 / 4 above
    log_chance = logits.log_softmax(-1)
    assert loss.item() == pytest.approx(-(wanted * log_chance).sum().item(), rel=1e-6)
    assert torch.allclose(gradient, 3.0 * (2.0 * log_chance.exp() - wanted), atol=1e-6)


def test_many_rows_are_read_as_a_few_are():
    torch.manual_seed(0)
    two_hot, net = TwoHot(41), torch.nn.Linear(3, 41)
    x = torch.randn(2, 4000, 3)  # more than one part
    assert len(two_hot.chunks(x.flatten(0, 1))) > 1
    with torch.no_grad():
        assert torch.allclose(two_hot.predict(net, x), two_hot.mean(net(x)), rtol=1e-4, atol=1e-3)


def test_symlog_and_back():
    x = torch.tensor([-100.0, -1.0, 0.0, 0.5, math.e - 1.0])
    assert symlog(x)[-1].item() == pytest.approx(1.0)
    assert torch.allclose(symexp(symlog(x)), x, rtol=1e-5)


def test_what_each_side_pays_for_the_kl(make_rssm):
    """One variable of two classes: posterior 3/4, 1/4, prior 1/2, 1/2.

    The KL is log 2 - H(3/4) = 0.1308. Its gradient is p - q for the prior's logits, and
    q (log(q / p) - KL) for the posterior's.
    """
    model = make_rssm(free_nats=0.0, dynamics_scale=1.0, representation_scale=0.1)
    model.latents = CategoricalLatents(1, 2, 0.0)
    seen = torch.tensor([[math.log(3.0), 0.0]], requires_grad=True)
    expected = torch.zeros(1, 2, requires_grad=True)
    moving, seeing, kl = model.balanced_kl(seen, expected)
    (moving + seeing).backward()
    q = torch.tensor([[0.75, 0.25]])
    value = (q * (q / 0.5).log()).sum()
    assert kl.item() == pytest.approx(value.item(), rel=1e-5)
    assert torch.allclose(expected.grad, torch.tensor([[-0.25, 0.25]]), atol=1e-6)
    assert torch.allclose(seen.grad, 0.1 * q * ((q / 0.5).log() - value), atol=1e-6)


def test_the_first_nats_are_free(make_rssm):
    model = make_rssm(free_nats=1.0)
    seen = torch.tensor([[1.0, 0.0] * 32], requires_grad=True)
    expected = torch.zeros(1, 64, requires_grad=True)
    model.latents = CategoricalLatents(32, 2, 0.0)
    moving, seeing, kl = model.balanced_kl(seen, expected)
    assert kl > 1.0
    assert moving.item() == pytest.approx(kl.item())
    moving, seeing, _ = model.balanced_kl(seen * 0.1, expected)
    assert (moving.item(), seeing.item()) == pytest.approx((1.0, 0.1))
    (moving + seeing).backward()
    assert seen.grad.abs().max() == expected.grad.abs().max() == 0.0


def test_the_gaussian_kl_is_that_of_torch():
    latents = GaussianLatents(3)
    left, right = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))

    def normal(statistics):
        std = torch.nn.functional.softplus(statistics[:, 3:]) + 0.1
        return torch.distributions.Normal(statistics[:, :3], std)

    wanted = torch.distributions.kl_divergence(normal(left), normal(right)).sum(-1)
    assert torch.allclose(latents.kl(left, right), wanted, atol=1e-5)
    assert torch.allclose(latents.entropy(left), normal(left).entropy().sum(-1), atol=1e-5)


def test_a_gradient_is_only_ever_clip_gradients():
    """Norm of (3, 4) with (0, 12): 13."""
    parts = [torch.tensor([3.0, 4.0]), torch.tensor([0.0, 12.0])]
    short = clip_gradients([part.clone() for part in parts], 6.5)
    assert torch.allclose(torch.cat(short), torch.tensor([1.5, 2.0, 0.0, 6.0]), atol=1e-5)
    for part, left in zip(
        parts, clip_gradients([part.clone() for part in parts], 20.0), strict=True
    ):
        assert torch.equal(part, left)


def test_classes_come_as_often_as_they_should():
    """Logits log 3 and 0, a fifth of it uniform: 0.8 * 3/4 + 0.2 / 2 = 0.7."""
    latents = CategoricalLatents(1, 2, 0.2)
    noise = (torch.arange(100) + 0.5)[:, None, None] / 100.0
    sample = latents.sample(torch.tensor([math.log(3.0), 0.0]).expand(100, -1), noise)
    assert sample.sum(0).tolist() == [70.0, 30.0]


LATENTS = {"categorical": CategoricalLatents(2, 3, 0.1), "gaussian": GaussianLatents(4)}


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("kind", LATENTS)
def test_the_gradient_of_a_filter_is_that_of_its_steps(kind, recurrent):
    """Against torch's own, which follows every step; one sequence restarts on the way."""
    generator = torch.Generator().manual_seed(0)
    latents = LATENTS[kind]
    dynamics = LatentDynamics(latents, 4, 2, generator, 5, 8, recurrent).double()
    parameters = [p for name, p in dynamics.named_parameters() if "prior" not in name]
    for parameter in parameters:  # scales and shifts too
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    embedded, action = (torch.randn(5, 3, n, generator=generator).double() for n in (4, 2))
    embedded.requires_grad_()
    noise = latents.noise((5, 3), generator).double()
    first = torch.zeros(5, 3, dtype=torch.bool)
    first[0], first[2] = True, torch.tensor([True, False, True])
    restarts = [True, False, True, False, False]
    state = deter, stoch = torch.zeros(3, 5).double(), torch.zeros(3, latents.size).double()
    steps = []
    for obs, act, is_first, luck in zip(embedded, action, first, noise, strict=True):
        keep = 1.0 - is_first[:, None].double()
        deter = dynamics(*(part * keep for part in state), act * keep)
        seen = dynamics.posterior(deter, obs)
        stoch = latents.sample(seen, luck)
        if kind == "categorical":  # straight-through: forward the sample, backward its chances
            chance = 0.9 * seen.unflatten(-1, (2, 3)).softmax(-1).flatten(-2)
            stoch = stoch + chance - chance.detach()
        state = deter, stoch
        steps.append((deter, stoch, seen))
    expected = [torch.stack(parts) for parts in zip(*steps, strict=True)]
    found = dynamics.filter_sequence(embedded, action, first, restarts, noise)
    weights = [torch.randn(part.shape, generator=generator).double() for part in expected]
    gradients = []
    for outputs in (expected, found):
        loss = sum((part * w).sum() for part, w in zip(outputs, weights, strict=True))
        gradients.append(torch.autograd.grad(loss, [embedded, *parameters]))
    for plain, fast in zip(expected, found, strict=True):
        assert torch.allclose(plain, fast)
    for plain, fast in zip(*gradients, strict=True):
        assert plain.abs().max() > 1e-3
        assert torch.allclose(plain, fast, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("recurrent", [True, False])
def test_an_episode_that_starts_within_a_sequence_knows_nothing_of_what_was_before(recurrent):
    """Steps 2 and on of a sequence that restarts at step 2 are a sequence of their own."""
    generator = torch.Generator().manual_seed(0)
    dynamics = LatentDynamics(CategoricalLatents(2, 3, 0.01), 4, 2, generator, 5, 8, recurrent)
    embedded, action = (torch.randn(5, 3, n, generator=generator) for n in (4, 2))
    noise = dynamics.latents.noise((5, 3), generator)
    first = torch.zeros(5, 3, dtype=torch.bool)
    first[0], first[2] = True, torch.tensor([True, False, True])
    restarts = [True, False, True, False, False]
    whole = dynamics.filter_sequence(embedded, action, first, restarts, noise)
    first = first[2:].clone()
    first[0] = True
    part = dynamics.filter_sequence(embedded[2:], action[2:], first, restarts[2:], noise[2:])
    for long, short in zip(whole, part, strict=True):
        assert torch.allclose(long[2:, [0, 2]], short[:, [0, 2]], atol=1e-6)
    assert not torch.allclose(whole[0][2, 1], part[0][0, 1])  # this one did not restart


@pytest.mark.parametrize("latents", ["gaussian", "categorical"])
def test_acting_filters_as_training_does(make_rssm, latents):
    """From `initial`, with an action of zero, as from a `first`; then on with real actions."""
    model = make_rssm(latents=latents)
    generator = torch.Generator().manual_seed(0)
    obs, action = (torch.randn(4, 3, n, generator=generator) for n in (2, 1))
    first = torch.zeros(4, 3, dtype=torch.bool)
    first[0] = True
    embedded = model.nets.encoder(symlog(obs))
    restarts = [True, False, False, False]
    model.dynamics.latents.sample = lambda statistics, noise: model.latents.mode(statistics)
    deter, stoch, _ = model.dynamics.filter_sequence(
        embedded, action, first, restarts, torch.zeros(4, 3)
    )
    state = model.initial(3)
    for step in range(4):
        led_here = action[step] if step else torch.zeros(3, 1)
        state = model.observe(state, led_here, obs[step])
        assert torch.allclose(state["deter"], deter[step], atol=1e-5)
        assert torch.allclose(state["stoch"], stoch[step], atol=1e-5)


def test_unrolling_is_stepping(make_rssm):
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


def filled(lengths, terminated=True, holdout_ratio=0.0):
    """Episodes whose observation counts: 10 e + t, action 0.1 per step, reward as the step."""
    replay = ReplayBuffer(100, 1, 1, holdout_ratio)
    for episode, length in enumerate(lengths):
        for t in range(length):
            here, there = np.array([10.0 * episode + t]), np.array([10.0 * episode + t + 1])
            end = t == length - 1
            replay.add(here, np.array([0.1 * (t + 1)]), t + 1, there, end and terminated, end)
    return replay


def test_the_stream_holds_every_observation_with_what_led_to_it(generator):
    """Two episodes of 2 and 3 steps are 3 + 4 observations: one window holds them all."""
    replay = filled([2, 3])
    for data in (
        replay.sample_sequences(2, 99, generator),
        restored(replay).sample_sequences(2, 7, generator),
    ):
        assert data.obs[:, 0, 0].tolist() == [0, 1, 2, 10, 11, 12, 13]
        assert data.action[:, 1, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0, 0.1, 0.2, 0.3])
        assert data.reward[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 3]
        assert data.terminated[:, 0].tolist() == [0, 0, 1, 0, 0, 0, 1]
        assert data.first[:, 0].tolist() == [True, False, False, True, False, False, False]
        assert data.restarts == [True, False, False, True, False, False, False]


def restored(replay):
    other = ReplayBuffer(replay.capacity, 1, 1, replay.holdout_ratio)
    other.load_state_dict(replay.state_dict())
    return other


def test_windows_start_everywhere_and_pass_over_held_out_episodes(generator):
    replay = filled([3, 3, 2], terminated=False, holdout_ratio=0.2)  # the second is held out
    for source in (replay, restored(replay)):
        data = source.sample_sequences(200, 2, generator)
        seen = {tuple(pair) for pair in data.obs[..., 0].T.tolist()}
        assert seen == {(0, 1), (1, 2), (2, 3), (3, 20), (20, 21), (21, 22)}
        assert data.terminated.sum() == 0.0  # a time limit is no end


def test_a_full_buffer_forgets_the_oldest(generator):
    replay = ReplayBuffer(4, 1, 1, 0.0)
    for t in range(6):
        replay.add(np.array([t]), np.array([0.0]), 0.0, np.array([t + 1]), False, False)
    for source in (replay, restored(replay)):
        data = source.sample_sequences(50, 2, torch.Generator().manual_seed(0))
        assert set(data.obs[0, :, 0].tolist()) == {4.0, 5.0}
        assert torch.equal(data.obs[1], data.obs[0] + 1.0)


def test_discrete_actions_have_their_chances(make_action):
    """Two blocks; logits log 3 and 0 with half uniform: 0.5 * 3/4 + 0.25 = 0.625."""
    actions = ActionDistribution(make_action((2, 3)), 0.5)
    out = torch.tensor([[math.log(3.0), 0.0, 0.0, 0.0, 0.0]]).expand(4000, -1)
    drawn = actions.sample(out, torch.Generator().manual_seed(0))
    assert drawn.sum(-1).unique().tolist() == [2.0]
    # standard deviation of the share: sqrt(0.625 * 0.375 / 4000) = 0.008
    assert drawn[:, 0].mean().item() == pytest.approx(0.625, abs=0.03)
    log_chance, entropy = actions.log_prob_and_entropy(out[:1], torch.tensor([[1, 0, 0, 1, 0.0]]))
    assert log_chance.item() == pytest.approx(math.log(0.625 / 3.0))
    wanted = -0.625 * math.log(0.625) - 0.375 * math.log(0.375) + math.log(3.0)
    assert entropy.item() == pytest.approx(wanted)
    assert actions.mode(out)[0].tolist() == [1.0, 0.0, 1.0, 0.0, 0.0]


def test_continuous_actions_have_their_density(make_action):
    actions = ActionDistribution(make_action(1), 0.0)
    out = torch.tensor([[math.atanh(0.5), -2.0]])  # std 0.1 + 0.9 / 2 = 0.55
    log_density, entropy = actions.log_prob_and_entropy(out, torch.tensor([[0.7]]))
    normal = torch.distributions.Normal(0.5, 0.55)
    assert log_density.item() == pytest.approx(normal.log_prob(torch.tensor(0.7)).item(), rel=1e-5)
    assert entropy.item() == pytest.approx(normal.entropy().item(), rel=1e-5)


def test_known_functions_judge_decoded_observations(make_spec):
    spec = make_spec(
        2, 1,
        known_reward=lambda obs, action, next_obs: next_obs[..., 0] + action[..., 0],
        known_termination=lambda obs, action, next_obs: next_obs[..., 1] > 1e9,
    )  # fmt: skip
    model = RSSM(spec, CPU, torch.Generator().manual_seed(0), **SETTINGS)
    state = model.branch(model.initial(3), 1)
    step = model.step(state, torch.full((3, 1), 0.5), torch.Generator().manual_seed(0))
    assert torch.allclose(step.reward, model.decode(step.state)[..., 0] + 0.5)
    assert step.continues.tolist() == [[1.0]] * 3


@pytest.mark.learn
def test_a_model_remembers_what_a_reward_needs(make_rssm):
    """The reward is what was shown before the last observation: a coin, which nothing shown tells.

    A one lies between two bins, which costs 0.637 each time; guessing costs 0.69 + 0.32 = 1.01.
    """
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(600, 1, 1, 0.0)
    shown = rng.integers(0, 2, 602).astype(np.float32)
    for t in range(1, 601):
        here, there = shown[t - 1 : t], shown[t : t + 1]
        replay.add(here, np.zeros(1), float(shown[t - 1]), there, False, t % 30 == 0)
    model = make_rssm(1, 1, fit_steps=100, sequence_length=16, batch_size=16, learning_rate=3e-3)
    for _ in range(4):
        metrics = model.fit(replay, torch.Generator().manual_seed(0))
    assert metrics["reward_loss"] < 0.6


def test_the_averaged_actor_is_what_is_evaluated(make_rssm, generator):
    model = make_rssm()
    settings = {
        "hidden": 4, "layers": 1, "rollout_length": 2, "rollouts": 3, "discount": 0.99,
        "gae_lambda": 0.95, "entropy_scale": 0.1, "actor_learning_rate": 0.1,
        "critic_learning_rate": 0.1, "target_rate": 0.05, "max_grad_norm": 100.0, "unimix": 0.01,
        "num_bins": 41, "actor_ema_rate": 0.25,
    }  # fmt: skip
    learner, restored = (ActorCritic(model, CPU, generator, **settings) for _ in range(2))
    start = model.initial(3)
    before = [parameter.clone() for parameter in learner.actor.parameters()]
    learner.learn(start["deter"], start["stoch"], torch.ones(3))
    assert not torch.equal(learner.actor.out, learner.averaged.out)
    nets = learner.averaged.parameters(), before, learner.actor.parameters()
    for average, old, new in zip(*nets, strict=True):
        assert torch.allclose(average, 0.75 * old + 0.25 * new)
    feature = torch.randn(5, model.feature_dim, generator=generator)
    evaluated = learner.act(feature, None)
    with torch.no_grad():
        for parameter in learner.actor.parameters():
            parameter.zero_()
    assert torch.equal(learner.act(feature, None), evaluated)
    restored.load_state_dict(learner.state_dict())
    assert torch.equal(restored.act(feature, None), evaluated)
