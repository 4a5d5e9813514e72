"""SAC: policies and TD targets against numbers derived by hand; it learns two bandits."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.agents.sac import SAC
from mbrl_cli.agents.td_batch import TDBatch, n_step_batch
from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")
SETTINGS = {
    "hidden": [16], "learning_rate": 1e-2, "batch_size": 8, "discount": 0.9, "target_rate": 0.25,
    "initial_temperature": 0.5, "log_every": 10,
}  # fmt: skip


def make_sac(spec, seed=0, **changes):
    return SAC(spec, CPU, torch.Generator().manual_seed(seed), **SETTINGS | changes)


def random_replay(spec, num, seed=0):
    """Return a replay of `num` unrelated random transitions."""
    rng = np.random.default_rng(seed)
    replay = ReplayBuffer(num, spec.obs_dim, spec.action.dim)
    for _ in range(num):
        obs, next_obs = rng.normal(size=(2, spec.obs_dim)).astype(np.float32)
        action = rng.uniform(-1, 1, spec.action.dim).astype(np.float32)
        if spec.action.kind == "discrete":
            action = np.eye(spec.action.dim, dtype=np.float32)[rng.integers(spec.action.dim)]
        replay.add(obs, action, float(rng.normal()), next_obs, bool(rng.random() < 0.1), False)
    return replay


@torch.no_grad()
def set_constant(weights, outputs):
    """Set the weights of E networks so that they return `outputs` [E, out] for every input."""
    for weight in weights:
        weight.zero_()
    weights[-1].copy_(torch.tensor(outputs)[:, None])


def set_constant_actor(agent, *outputs):
    """Make the actor and its moving average return `outputs` for every observation."""
    for weights in (agent.actor.parameters, agent.ema_actor):
        set_constant(weights, [outputs])


# --- policies -----------------------------------------------------------------------------------


def test_exploration_samples_and_evaluation_takes_the_mode(make_spec, generator):
    spec = make_spec(1, 2)
    agent = make_sac(spec)
    set_constant_actor(agent, 0.3, -0.2, math.log(0.1), math.log(0.4))
    obs = np.zeros((4000, 1), np.float32)
    exact = agent.policy([None], explore=False, generator=generator).act(obs).action
    assert np.allclose(exact, np.tanh([0.3, -0.2]))
    raw = np.arctanh(agent.policy([None], explore=True, generator=generator).act(obs).action)
    assert raw.mean(0).tolist() == pytest.approx([0.3, -0.2], abs=0.03)  # +- 0.006
    assert raw.std(0).tolist() == pytest.approx([0.1, 0.4], rel=0.06)  # +- 0.011


def test_evaluation_uses_the_moving_average_of_the_actor(make_spec, generator):
    obs = np.ones((3, 2), np.float32)
    agent, without_ema = make_sac(make_spec(2), actor_ema_rate=0.25), make_sac(make_spec(2))
    start = [weight.clone() for weight in agent.ema_actor]
    rows = torch.randn(1, 4, 2, generator=generator)
    for learner in (agent, without_ema):
        learner.learn(TDBatch(rows, rows[..., :1], rows[..., 0], rows, torch.full((1, 4), 0.9)), 4)
    for average, old, new in zip(agent.ema_actor, start, agent.actor.detached(), strict=True):
        assert torch.allclose(average, 0.75 * old + 0.25 * new)
    for average, new in zip(without_ema.ema_actor, without_ema.actor.detached(), strict=True):
        assert torch.equal(average, new)
    evaluated = agent.policy([None], explore=False, generator=generator)
    action = evaluated.act(obs).action
    agent.actor.load([torch.zeros_like(p) for p in agent.actor.detached()])
    assert np.array_equal(evaluated.act(obs).action, action)
    restored = make_sac(make_spec(2), seed=1)
    restored.load_state_dict(agent.state_dict())
    policy = restored.policy([None], explore=False, generator=generator)
    assert np.array_equal(policy.act(obs).action, action)


def test_the_actor_of_a_good_round_repeats_it_without_exploration(make_spec, generator):
    spec = make_spec(1)
    agent = make_sac(spec, assess_rounds=1)
    replay = ReplayBuffer(10, spec.obs_dim, spec.action.dim)
    zero = np.zeros(1, np.float32)

    def play():
        """Play a round of one episode with a return of 1."""
        replay.add(zero, zero, 1.0, zero, False, True)
        agent.assessed.update(replay)

    play()  # the prefill
    set_constant_actor(agent, 0.3, 0.0)
    play()  # the best round yet: a copy of this actor acts next
    set_constant_actor(agent, -0.3, 0.0)
    obs = np.zeros((20, 1), np.float32)
    acting = agent.policy([None], explore=True, generator=generator)
    evaluated = agent.policy([None], explore=False, generator=generator)
    assert np.allclose(acting.act(obs).action, np.tanh(0.3))
    assert np.allclose(evaluated.act(obs).action, np.tanh(-0.3))
    play()  # the copy is as good: evaluations use it, and the actor explores again
    assert len(set(acting.act(obs).action[:, 0])) == 20
    assert np.allclose(evaluated.act(obs).action, np.tanh(0.3))
    assert agent.take_metrics(100) == {}  # not learned yet
    restored = make_sac(spec, seed=1, assess_rounds=1)
    restored.load_state_dict(agent.state_dict())
    policy = restored.policy([None], explore=False, generator=generator)
    assert np.allclose(policy.act(obs).action, np.tanh(0.3))
    assert restored.assessed.metrics() == {"agent/assessed_rounds": 1}


def test_discrete_exploration_samples_and_evaluation_takes_the_mode(make_spec, generator):
    agent = make_sac(make_spec(1, (3,)))
    set_constant_actor(agent, math.log(0.2), math.log(0.5), math.log(0.3))
    obs = np.zeros((100, 1), np.float32)
    exact = agent.policy([None], explore=False, generator=generator).act(obs).action
    assert (exact == [0, 1, 0]).all()
    samples = agent.policy([None], explore=True, generator=generator).act(obs).action
    assert set(samples.argmax(1)) == {0, 1, 2}


def test_several_discrete_actions_per_step_are_refused(make_spec):
    with pytest.raises(UserError, match="one discrete action, and toy has 2 discrete actions"):
        make_sac(make_spec(1, (3, 2)))


def test_sizes_are_the_only_arguments_without_a_default(make_spec, generator):
    agent = SAC(make_spec(3, 2), CPU, generator)
    assert agent.target_entropy == -2.0
    assert agent.act(torch.zeros(5, 3), None).shape == (5, 2)


# --- TD targets and losses ----------------------------------------------------------------------


def batch_of(spec, rewards, terminated):
    num = len(rewards)
    obs, action = torch.zeros(num, spec.obs_dim), torch.zeros(num, spec.action.dim)
    discount = 0.9 * (1.0 - torch.tensor(terminated))
    return TDBatch(obs, action, torch.tensor(rewards), obs, discount)


def test_discrete_td_targets_are_expectations_of_the_lower_target_critic(make_spec):
    spec = make_spec(1, (2,))
    agent = make_sac(spec)
    set_constant_actor(agent, math.log(0.25), math.log(0.75))
    set_constant(agent.critics.network.parameters, [[9.0, 9.0], [9.0, 9.0]])
    set_constant(agent.critics.targets, [[1.0, 4.0], [2.0, 3.0]])
    targets = agent.td_targets(
        batch_of(spec, [1.0, 1.0], [0.0, 1.0]), torch.tensor(0.5), torch.empty(0)
    )
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    value = 0.25 * 1.0 + 0.75 * 3.0  # the minimum of both critics for each choice
    assert targets.tolist() == pytest.approx([1.0 + 0.9 * (value + 0.5 * entropy), 1.0])


def test_continuous_td_targets_bootstrap_unless_the_episode_terminated(make_spec):
    spec = make_spec(1, 1)
    agent = make_sac(spec)
    set_constant_actor(agent, 0.4, math.log(0.5))
    set_constant(agent.critics.targets, [[5.0], [3.0]])
    noise = torch.tensor([[1.0], [1.0]])
    targets = agent.td_targets(batch_of(spec, [1.0, 1.0], [0.0, 1.0]), torch.tensor(0.5), noise)
    # u = 0.4 + 0.5: density N(1) / 0.5 / (1 - tanh(u)^2)
    density = math.exp(-0.5) / math.sqrt(2 * math.pi) / 0.5 / (1 - math.tanh(0.9) ** 2)
    assert targets.tolist() == pytest.approx([1.0 + 0.9 * (3.0 - 0.5 * math.log(density)), 1.0])


def test_td_targets_bootstrap_after_a_time_limit(make_spec):
    """The replay stores a truncated step as not terminated, so its next state is valued."""
    replay = ReplayBuffer(2, 1, 1)
    zero = np.zeros(1, np.float32)
    replay.add(zero, zero, 1.0, zero, False, True)
    replay.add(zero, zero, 1.0, zero, True, False)
    batch = n_step_batch(replay, np.arange(2), 1, 0.9, CPU)
    agent = make_sac(make_spec())
    set_constant(agent.critics.targets, [[10.0], [10.0]])
    targets = agent.td_targets(batch, torch.tensor(0.0), torch.zeros(2, 1))
    assert targets.tolist() == pytest.approx([1.0 + 0.9 * 10.0, 1.0])


def test_target_critics_are_a_moving_average(make_spec):
    spec = make_spec(2, 1)
    agent = make_sac(spec)
    critics = agent.critics
    before = [weight.clone() for weight in critics.targets]
    agent.update(random_replay(spec, 50), 1)
    for old, target, new in zip(before, critics.targets, critics.network.parameters, strict=True):
        assert torch.allclose(target, 0.75 * old + 0.25 * new, atol=1e-6)
        assert not torch.equal(old, new)


def test_the_actor_loss_does_not_train_critics(make_spec):
    """The critics' errors are zero, so only the actor has a gradient."""
    spec = make_spec(1, 1)
    agent = make_sac(spec, discount=0.0)
    set_constant(agent.critics.network.parameters, [[1.0], [1.0]])
    zeros, ones = torch.zeros(1, 8, 1), torch.ones(1, 8)
    weights = [*agent.actor.parameters, *agent.critics.network.parameters]
    before = [weight.clone() for weight in weights]
    agent.learn(TDBatch(zeros, zeros, ones, zeros, 0.0 * ones), 8)
    changed = [not torch.equal(old, new) for old, new in zip(before, weights, strict=True)]
    assert changed[4:] == [False] * 4  # critics: their value 1 is the reward
    assert any(changed[:4])  # actor: its entropy grows


def test_the_actor_learns_once_for_each_policy_delay_gradient_steps(make_spec):
    spec = make_spec(actions=1)
    agent = make_sac(spec, policy_delay=3)
    replay = random_replay(spec, 30)
    learned = []
    for _ in range(7):
        actor = agent.actor.parameters[0].clone()
        critics = agent.critics.network.parameters[0].clone()
        temperature = agent.log_temperature.item()
        agent.learn(agent.sample_batches(replay, 1, 8), 8)
        learned.append(not torch.equal(actor, agent.actor.parameters[0]))
        assert learned[-1] == (temperature != agent.log_temperature.item())
        assert not torch.equal(critics, agent.critics.network.parameters[0])
    assert learned == [True, False, False, True, False, False, True]


def test_the_logged_temperature_is_a_mean_over_the_steps_that_learn_it(make_spec):
    spec = make_spec(actions=1)
    agent = make_sac(spec, policy_delay=4, learning_rate=1e-12)
    agent.learn(agent.sample_batches(random_replay(spec, 30), 10, 8), 8)
    assert agent.metrics.take(10)["agent/temperature"] == pytest.approx(0.5)


@pytest.mark.parametrize(("target_entropy", "direction"), [(-5.0, -1), (5.0, 1)])
def test_the_temperature_falls_while_the_entropy_is_above_its_target(
    make_spec, target_entropy, direction
):
    spec = make_spec(1, 1)
    agent = make_sac(spec, target_entropy=target_entropy)
    agent.update(random_replay(spec, 50), 1)
    change = agent.log_temperature.item() - math.log(0.5)
    assert change == pytest.approx(direction * 1e-2, rel=1e-3)  # Adam's first step


# --- schedule, metrics, checkpoints -------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "expected"), [(0.4, [0, 0, 1, 1, 2, 2]), (2.5, [2, 5, 7, 10])])
def test_gradient_steps_keep_their_ratio_to_environment_steps(make_spec, ratio, expected):
    spec = make_spec()
    agent = make_sac(spec, updates_per_step=ratio)
    replay = random_replay(spec, 20)
    counts = []
    for step in range(30, 30 + len(expected)):
        agent.update(replay, step)
        counts.append(agent.schedule.num_updates)
    assert counts == expected


def test_metrics_are_means_over_log_every_steps(make_spec):
    spec = make_spec()
    agent = make_sac(spec, learning_rate=1e-9)
    set_constant(agent.critics.network.parameters, [[2.0], [7.0]])
    replay = random_replay(spec, 20)
    rows = {step: agent.update(replay, step) for step in range(1, 31)}
    assert [step for step, metrics in rows.items() if metrics] == [10, 20, 30]
    scale = float(agent.reward_scale.scale)  # values are logged in the environment's unit
    assert rows[20]["agent/q_real"] == pytest.approx(2.0 * scale, abs=1e-3)
    assert rows[20]["agent/temperature"] == pytest.approx(0.5 * scale)
    assert rows[20]["agent/imagined_ratio"] == 0.0
    assert "agent/q_imagined" not in rows[20]


@pytest.mark.parametrize("actions", [2, (3,)])
def test_a_restored_sac_learns_the_same_to_the_bit(make_spec, actions):
    spec = make_spec(3, actions)
    replay = random_replay(spec, 100)
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
def test_it_learns_a_continuous_contextual_bandit(make_spec, layer_norm):
    """Reward -(a - 0.5 s)^2 after one step: optimum 0, a = 0 returns -0.083, random -0.42."""
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


def test_it_learns_a_discrete_contextual_bandit(make_spec):
    """Reward 1 for choice 1 where obs > 0 and for choice 0 elsewhere; random actions return 0.5."""
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
    correct = policy.act(obs).action[:, 1] == (obs[:, 0] > 0)
    assert correct.mean() >= 0.95


def test_residual_blocks_have_one_width(make_spec):
    with pytest.raises(UserError, match=r"hidden=\[16, 8\]: residual blocks need one width"):
        make_sac(make_spec(), network="residual", hidden=[16, 8])
