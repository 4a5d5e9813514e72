"""SAC: densities, soft values and targets against numbers derived by hand; it learns a bandit."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.agents.sac import SAC, squashed_gaussian
from mbrl_cli.errors import UserError
from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Batch

CPU = torch.device("cpu")
SETTINGS = {
    "hidden": [16], "activation": "relu", "layer_norm": False, "learning_rate": 1e-2,
    "batch_size": 8, "updates_per_step": 1.0, "discount": 0.9, "target_rate": 0.25,
    "initial_temperature": 0.5, "target_entropy": "auto", "log_every": 10, "actor_ema_rate": 1.0,
}  # fmt: skip


def make_sac(spec, seed=0, **changes):
    return SAC(spec, CPU, torch.Generator().manual_seed(seed), **SETTINGS | changes)


def fill_at_random(spec, num, seed=0):
    rng = np.random.default_rng(seed)
    replay = ReplayBuffer(num, spec.obs_dim, spec.action.dim)
    for _ in range(num):
        obs, next_obs = rng.normal(size=(2, spec.obs_dim)).astype(np.float32)
        action = rng.uniform(-1, 1, spec.action.dim).astype(np.float32)
        if spec.action.kind == "discrete":
            action = np.eye(spec.action.dim, dtype=np.float32)[rng.integers(spec.action.dim)]
        replay.add(obs, action, float(rng.normal()), next_obs, bool(rng.random() < 0.1), False)
    return replay


def constant(network, outputs):
    """Make a network [E] answer `outputs` [E, out] to everything."""
    with torch.no_grad():
        for parameter in network.parameters:
            parameter.zero_()
        network.parameters[-1].copy_(torch.tensor(outputs)[:, None])


# --- networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("out_dim", [1, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_stack_computes_what_its_networks_compute_alone(generator, out_dim, layer_norm):
    net = StackedMLP(2, 3, out_dim, [8, 8], "silu", layer_norm, generator)
    x = torch.randn(2, 5, 3, generator=generator)
    for member in range(2):
        w1, b1, w2, b2, w3, b3 = (parameter[member] for parameter in net.parameters)
        hidden = x[member]
        for weight, bias in ((w1, b1), (w2, b2)):
            hidden = hidden @ weight + bias
            if layer_norm:
                spread = hidden.var(-1, keepdim=True, unbiased=False)
                hidden = (hidden - hidden.mean(-1, keepdim=True)) / (spread + 1e-5).sqrt()
            hidden = hidden * torch.sigmoid(hidden)
        assert torch.allclose(net(x)[member], hidden @ w3 + b3, atol=1e-5)


# --- the policy ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, -0.5), (0.7, -1.0), (-1.5, 0.0)])
def test_the_density_of_squashed_actions_is_that_of_their_distribution(mean, log_std):
    """Density of tanh(u): normal density of u over the slope, and the entropy by quadrature."""
    u = torch.linspace(mean - 8 * math.exp(log_std), mean + 8 * math.exp(log_std), 20_001)
    noise = ((u - mean) / math.exp(log_std))[:, None]
    out = torch.tensor([[mean, log_std]]).expand(len(u), -1)
    action, log_density = squashed_gaussian(out, noise)
    a, density = action[:, 0].double(), log_density.double().exp()
    inside = a.abs() < 1 - 1e-6  # float32 cannot tell actions apart beyond
    assert torch.trapezoid(density[inside], a[inside]).item() == pytest.approx(1.0, abs=2e-3)
    entropy = torch.trapezoid((-density * log_density)[inside], a[inside]).item()
    drawn = torch.randn(400_000, 1, generator=torch.Generator().manual_seed(0))
    sampled = -squashed_gaussian(out[:1].expand(len(drawn), -1), drawn)[1].mean().item()
    assert sampled == pytest.approx(entropy, abs=0.01)  # standard error 0.002


def test_actions_are_sampled_in_training_and_the_likeliest_in_evaluation(make_spec, generator):
    spec = make_spec(1, 2)
    agent = make_sac(spec)
    constant(agent.actor, [[0.3, -0.2, math.log(0.1), math.log(0.4)]])
    agent.averaged = agent.actor.detached()
    obs = np.zeros((4000, 1), np.float32)
    exact = agent.policy([None], explore=False, generator=generator).act(obs).action
    assert np.allclose(exact, np.tanh([0.3, -0.2]))
    raw = np.arctanh(agent.policy([None], explore=True, generator=generator).act(obs).action)
    assert raw.mean(0).tolist() == pytest.approx([0.3, -0.2], abs=0.03)  # +- 0.006
    assert raw.std(0).tolist() == pytest.approx([0.1, 0.4], rel=0.06)  # +- 0.011


def test_the_averaged_actor_is_what_is_evaluated(make_spec, generator):
    obs = np.ones((3, 2), np.float32)
    agent, same = make_sac(make_spec(2), actor_ema_rate=0.25), make_sac(make_spec(2))
    start = [parameter.clone() for parameter in agent.averaged]
    for learner in (agent, same):
        noise = torch.Generator().manual_seed(3)
        rows = torch.randn(1, 4, 2, generator=noise)
        learner.learn(Batch(rows, rows[..., :1], rows[..., 0], rows, torch.zeros(1, 4)), 4)
    for average, old, new in zip(agent.averaged, start, agent.actor.detached(), strict=True):
        assert torch.allclose(average, 0.75 * old + 0.25 * new)
    for average, new in zip(same.averaged, same.actor.detached(), strict=True):
        assert torch.equal(average, new)
    evaluated = agent.policy([None], explore=False, generator=generator)
    action = evaluated.act(obs).action
    agent.actor.load([torch.zeros_like(p) for p in agent.actor.detached()])
    assert np.array_equal(evaluated.act(obs).action, action)
    restored = make_sac(make_spec(2), seed=1)
    restored.load_state_dict(agent.state_dict())
    policy = restored.policy([None], explore=False, generator=generator)
    assert np.array_equal(policy.act(obs).action, action)


def test_discrete_actions_are_sampled_by_their_chances(make_spec, generator):
    agent = make_sac(make_spec(1, (3,)))
    constant(agent.actor, [[math.log(0.2), math.log(0.5), math.log(0.3)]])
    agent.averaged = agent.actor.detached()
    obs = np.zeros((10_000, 1), np.float32)
    exact = agent.policy([None], explore=False, generator=generator).act(obs).action
    assert (exact == [0, 1, 0]).all()
    drawn = agent.policy([None], explore=True, generator=generator).act(obs).action
    assert (drawn.sum(1) == 1).all()
    assert drawn.mean(0).tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)  # +- 0.005


def test_several_discrete_choices_at_once_are_refused(make_spec):
    with pytest.raises(UserError, match="one discrete choice; toy has 2 choices at once"):
        make_sac(make_spec(1, (3, 2)))


# --- targets ------------------------------------------------------------------------------------


def batch_of(spec, rewards, terminated):
    num = len(rewards)
    obs, action = torch.zeros(num, spec.obs_dim), torch.zeros(num, spec.action.dim)
    return Batch(obs, action, torch.tensor(rewards), obs, torch.tensor(terminated))


def test_discrete_targets_are_expectations_of_the_lower_critic(make_spec):
    spec = make_spec(1, (2,))
    agent = make_sac(spec)
    constant(agent.actor, [[math.log(0.25), math.log(0.75)]])
    agent.averaged = agent.actor.detached()
    constant(agent.critics, [[9.0, 9.0], [9.0, 9.0]])
    agent.targets[-1].copy_(torch.tensor([[[1.0, 4.0]], [[2.0, 3.0]]]))
    for tensor in agent.targets[:-1]:
        tensor.zero_()
    wanted = agent.wanted_values(
        batch_of(spec, [1.0, 1.0], [0.0, 1.0]), torch.tensor(0.5), torch.empty(0)
    )
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    value = 0.25 * 1.0 + 0.75 * 3.0  # the lower of each choice
    assert wanted.tolist() == pytest.approx([1.0 + 0.9 * (value + 0.5 * entropy), 1.0])


def test_continuous_targets_bootstrap_unless_the_task_ended(make_spec):
    spec = make_spec(1, 1)
    agent = make_sac(spec)
    constant(agent.actor, [[0.4, math.log(0.5)]])
    agent.averaged = agent.actor.detached()
    for tensor in agent.targets[:-1]:
        tensor.zero_()
    agent.targets[-1].copy_(torch.tensor([[[5.0]], [[3.0]]]))
    noise = torch.tensor([[1.0], [1.0]])
    wanted = agent.wanted_values(batch_of(spec, [1.0, 1.0], [0.0, 1.0]), torch.tensor(0.5), noise)
    # u = 0.4 + 0.5: density N(1) / 0.5 / (1 - tanh(u)^2)
    density = math.exp(-0.5) / math.sqrt(2 * math.pi) / 0.5 / (1 - math.tanh(0.9) ** 2)
    assert wanted.tolist() == pytest.approx([1.0 + 0.9 * (3.0 - 0.5 * math.log(density)), 1.0])


def test_the_replay_keeps_a_time_limit_apart_from_an_end(make_spec):
    """What a truncated step hands to the targets is 'not terminated': its state is valued."""
    replay = ReplayBuffer(2, 1, 1)
    zero = np.zeros(1, np.float32)
    replay.add(zero, zero, 1.0, zero, False, True)
    replay.add(zero, zero, 1.0, zero, True, False)
    batch = replay.batch(np.arange(2))
    agent = make_sac(make_spec(), initial_temperature=1e-9)
    for tensor in agent.targets[:-1]:
        tensor.zero_()
    agent.targets[-1].fill_(10.0)
    wanted = agent.wanted_values(batch, torch.tensor(0.0), torch.zeros(2, 1))
    assert wanted.tolist() == pytest.approx([1.0 + 0.9 * 10.0, 1.0])


def test_targets_move_their_share_towards_the_new_critics(make_spec):
    spec = make_spec(2, 1)
    agent = make_sac(spec)
    before = [tensor.clone() for tensor in agent.targets]
    agent.update(fill_at_random(spec, 50), 1)
    for old, target, critic in zip(before, agent.targets, agent.critics.parameters, strict=True):
        assert torch.allclose(target, 0.75 * old + 0.25 * critic, atol=1e-6)
        assert not torch.equal(old, critic)


def test_the_actor_s_loss_moves_no_critic_and_the_critics_loss_no_actor(make_spec):
    """With critics that are right already only the actor learns, and the other way round."""
    spec = make_spec(1, 1)
    agent = make_sac(spec, discount=0.0)
    constant(agent.critics, [[1.0], [1.0]])
    zeros, ones = torch.zeros(1, 8, 1), torch.ones(1, 8)
    before = [p.clone() for p in (*agent.actor.parameters, *agent.critics.parameters)]
    agent.learn(Batch(zeros, zeros, ones, zeros, 0.0 * ones), 8)
    after = [*agent.actor.parameters, *agent.critics.parameters]
    moved = [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
    assert moved[4:] == [False] * 4  # critics: reward 1 is what they said
    assert any(moved[:4])  # actor: it seeks entropy


@pytest.mark.parametrize(("wanted", "direction"), [(-5.0, -1), (5.0, 1)])
def test_the_temperature_falls_while_there_is_more_entropy_than_wanted(
    make_spec, wanted, direction
):
    spec = make_spec(1, 1)
    agent = make_sac(spec, target_entropy=wanted)
    agent.update(fill_at_random(spec, 50), 1)
    change = agent.log_temperature.item() - math.log(0.5)
    assert change == pytest.approx(direction * 1e-2, rel=1e-3)  # Adam's first step


# --- when, and what is said of it ---------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "wanted"), [(0.4, [0, 0, 1, 1, 2, 2]), (2.5, [2, 5, 7, 10])])
def test_gradient_steps_follow_the_replay_ratio(make_spec, ratio, wanted):
    spec = make_spec()
    agent = make_sac(spec, updates_per_step=ratio)
    replay = fill_at_random(spec, 20)
    done = []
    for step in range(30, 30 + len(wanted)):
        agent.update(replay, step)
        done.append(agent.schedule.num_updates)
    assert done == wanted


def test_metrics_come_every_so_many_steps_and_are_means(make_spec):
    spec = make_spec()
    agent = make_sac(spec, learning_rate=1e-9)
    constant(agent.critics, [[2.0], [7.0]])
    replay = fill_at_random(spec, 20)
    rows = {step: agent.update(replay, step) for step in range(1, 31)}
    assert [step for step, metrics in rows.items() if metrics] == [10, 20, 30]
    assert rows[20]["agent/q_real"] == pytest.approx(2.0, abs=1e-3)
    assert rows[20]["agent/temperature"] == pytest.approx(0.5)
    assert rows[20]["agent/imagined_share"] == 0.0
    assert "agent/q_imagined" not in rows[20]


@pytest.mark.parametrize("actions", [2, (3,)])
def test_a_restored_sac_goes_on_to_the_bit(make_spec, actions):
    spec = make_spec(3, actions)
    replay = fill_at_random(spec, 100)
    saved = make_sac(spec, updates_per_step=1.5)
    for step in range(5):
        saved.update(replay, step)
    restored = make_sac(spec, seed=1, updates_per_step=1.5)
    restored.load_state_dict(saved.state_dict())
    rows = [[agent.update(replay, step) for step in range(5, 15)] for agent in (saved, restored)]
    assert rows[0] == rows[1]
    assert any(rows[0])
    for one, other in zip(saved.actor.parameters, restored.actor.parameters, strict=True):
        assert torch.equal(one, other)


# --- learning -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_norm", [False, True])
def test_it_learns_which_action_pays(make_spec, layer_norm):
    """One step, reward -(a - 0.5 s)^2: optimum 0, the middle -0.083, uniform actions -0.42."""
    spec = make_spec(1, 1)
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(500, 1, 1)
    for _ in range(500):
        obs, action = rng.uniform(-1, 1, (2, 1)).astype(np.float32)
        reward = -float(((action - 0.5 * obs) ** 2).sum())
        replay.add(obs, action, reward, obs, True, False)
    agent = make_sac(
        spec, hidden=[32], batch_size=64, layer_norm=layer_norm, initial_temperature=0.01,
        target_entropy=-3.0,
    )  # fmt: skip
    for step in range(400):
        agent.update(replay, step)
    obs = np.linspace(-1, 1, 21, dtype=np.float32)[:, None]
    policy = agent.policy([None], explore=False, generator=torch.Generator())
    error = policy.act(obs).action - 0.5 * obs
    assert np.square(error).mean() < 0.01


def test_it_learns_which_choice_pays(make_spec):
    """Right where obs > 0, left elsewhere: reward 1 or 0."""
    spec = make_spec(1, (2,))
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(300, 1, 2)
    for _ in range(300):
        obs = rng.uniform(-1, 1, 1).astype(np.float32)
        choice = int(rng.integers(2))
        action = np.eye(2, dtype=np.float32)[choice]
        replay.add(obs, action, float(choice == (obs[0] > 0)), obs, True, False)
    agent = make_sac(spec, hidden=[32], batch_size=64, initial_temperature=0.1)
    for step in range(300):
        agent.update(replay, step)
    obs = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    policy = agent.policy([None], explore=False, generator=torch.Generator())
    right = policy.act(obs).action[:, 1] == (obs[:, 0] > 0)
    assert right.mean() >= 0.95
