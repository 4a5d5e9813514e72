"""TD-MPC2: imagination, and exact values of a task of two steps."""

import numpy as np
import pytest
import torch

from mbrl_cli.agents.policy_prior import PolicyPrior
from mbrl_cli.agents.tdmpc2_agent import TDMPC2Agent
from mbrl_cli.errors import UserError
from mbrl_cli.models.episodes import sample_episodes
from mbrl_cli.models.tdmpc2 import TDMPC2
from mbrl_cli.nets.implicit_world_model import chosen_critics
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.mppi import MPPI
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")


def make_model(spec, **changes):
    return TDMPC2(spec, CPU, torch.Generator().manual_seed(0), **changes)


def make_agent(spec, model, planner=None, **changes):
    planner = planner or MPPI(
        spec.action, CPU, horizon=2, population=32, iterations=2, noise_beta=0.0, spread=2.0,
        min_spread=0.05, elite_ratio=0.25, temperature=1.0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    settings = {"batch_size": 64, "discount": 0.5, "proposals": 2, "log_every": 1}
    return TDMPC2Agent(spec, CPU, model, planner, generator, **settings | changes)


def test_images_are_shifted_alike_in_a_sequence_and_not_for_acting(make_spec, generator):
    shape = 1, 16, 16
    spec = make_spec(256, 1, obs_shape=shape)
    replay = ReplayBuffer(4, 256, 1, images=True)
    image = np.zeros((16, 16), np.float32)
    image[8, 8] = 255.0
    for step in range(4):  # the white pixel moves to the right
        replay.add(
            np.roll(image, step, 1).ravel(), np.zeros(1, np.float32), 0.0,
            np.roll(image, step + 1, 1).ravel(), False, step == 3,
        )  # fmt: skip
    model = make_model(spec, unroll_steps=2)
    data, returns = sample_episodes(replay, 200, 2, 2, 0.5, spec, generator, CPU)
    images = torch.cat([data.first_obs[None], data.next_obs]).view(3, 200, 16, 16)
    row, column = images.flatten(2).argmax(-1) // 16, images.flatten(2).argmax(-1) % 16  # [3, 200]
    inside = torch.cat([torch.ones(1, 200), data.mask]) == 1.0
    assert set(row.flatten().tolist()) == {7, 8, 9}
    for step in (1, 2):
        moved = inside[step]
        assert torch.equal(column[step][moved], column[0][moved] + step)
        assert torch.equal(row[step][moved], row[0][moved])
    pixels = returns.last_obs.view(2, 200, 16, 16).flatten(2)
    assert pixels.sum(-1).unique().tolist() == [255.0]
    assert set((pixels.argmax(-1) // 16).flatten().tolist()) == {7, 8, 9}
    obs = torch.from_numpy(image.ravel())[None]
    assert torch.equal(model.encode(obs), model.nets.encode(obs / 255.0 - 0.5))
    assert not torch.equal(model.encode(obs), model.encode(torch.zeros(1, 256)))


@pytest.mark.parametrize("actions", [2, (3,)])
def test_a_whole_rollout_equals_single_steps(make_spec, generator, actions):
    model = make_model(make_spec(3, actions))
    model.has_ends = True
    with torch.no_grad():  # rewards that are not zero
        for parameter in model.optimiser.parameters:
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    dim = model.spec.action.dim
    plans = torch.rand(4, 5, dim, generator=generator)  # [H, M, A]
    obs = torch.randn(5, 3, generator=generator)
    state = model.branch(model.observe(model.initial(5), plans[0], obs), 1)
    whole = model.unroll(state, plans, generator)
    for step in range(4):
        single = model.step(state, plans[step], generator)
        state = single.state
        assert torch.allclose(whole.reward[step], single.reward, atol=1e-6)
        assert torch.allclose(whole.continues[step], single.continues)
    assert torch.allclose(whole.last_state["latent"], state["latent"])
    assert bool(whole.reward.any())


def test_terminations_are_predicted_from_the_first_one_on(make_spec, counting_replay, generator):
    model = make_model(make_spec())
    model.refit_scales(counting_replay([4, 3], terminated=False), discount=0.9)
    assert not model.has_ends
    state = model.branch(model.observe(model.initial(1), torch.zeros(1, 1), torch.ones(1, 1)), 1)
    plans = torch.zeros(2, 1, 1)
    assert model.unroll(state, plans, generator).continues is None
    assert model.step(state, plans[0], generator).continues.tolist() == [[1.0]]
    model.refit_scales(counting_replay([3]), discount=0.9)  # another replay
    assert model.has_ends
    assert float(model.step(state, plans[0], generator).continues) < 1.0


def test_values_start_as_those_of_the_mean_reward_if_the_task_terminates(
    make_spec, counting_replay
):
    model = make_model(make_spec())
    latent, action = torch.rand(5, 64), torch.zeros(5, 1)
    model.refit_scales(counting_replay([4], terminated=False), discount=0.9)
    assert not model.q(latent, action).any()
    model.refit_scales(counting_replay([3]), discount=0.9)  # rewards 1, 2, 3
    value = model.reward_scale.restore(model.q(latent, action))
    assert torch.allclose(value, torch.full((2, 5), 20.0))  # 2 / (1 - 0.9)
    model.is_fitted = True  # from the first gradient step on the offset stays
    model.refit_scales(counting_replay([3, 2, 1]), discount=0.9)
    assert torch.allclose(model.reward_scale.restore(model.q(latent, action)), value)


def two_steps(actions):
    """Return a replay of a task that ends after two steps.

    The first action has no effect. The second one decides the reward: 1 if its first entry is
    positive, else 0. Then the task terminates. A third of the episodes is another task: one step
    with reward 1 before a time limit, which leads back to the same state.
    """
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(1000, 2, 2)
    first, second, end, loop = (np.array(obs) for obs in ((0, 0), (1, 0), (0, 1), (1, 1)))
    for episode in range(300):
        one_hot = np.eye(2)[rng.integers(2, size=2)]
        action = one_hot if actions == "discrete" else rng.uniform(-1, 1, (2, 2))
        if episode % 3 == 2:
            replay.add(loop, action[0], 1.0, loop, False, True)
            continue
        reward = float(action[1, 0] > 0)
        replay.add(first, action[0], 0.0, second, False, False)
        replay.add(second, action[1], reward, end, True, False)
    return replay


def trained_agent(spec, replay, **changes):
    """Return an agent with the values that 250 gradient steps on the replay lead to."""
    model = make_model(spec, learning_rate=2e-3, target_rate=0.1, unroll_steps=2)
    agent = make_agent(spec, model, batch_size=48, **changes)
    model.refit_scales(replay, agent.discount)
    for _ in range(250):
        agent.learn(replay)
    return agent


@pytest.mark.parametrize(("ratio", "first"), [(0.0, 0.25), (0.25, 0.5)])
def test_a_return_of_two_steps_ends_before_an_action_of_an_old_policy(
    make_spec, generator, ratio, first
):
    """Half of the second actions of `two_steps` lead to reward 1: 1/2 * 1/2 from the first state.

    A policy that would not repeat the other half gives the first state the value 1/2.
    """
    agent = trained_agent(
        make_spec(2, (2,)), two_steps("discrete"), td_steps=2, min_policy_ratio=ratio
    )
    obs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    latent = {"latent": agent.model.encode(obs)[:, None]}
    values = agent.world(generator).value(latent)[:, 0]
    assert torch.allclose(values, torch.tensor([first, 1.0, 2.0]), atol=0.12)


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_values_plans_and_terminations_of_two_steps_are_learned(make_spec, generator, actions):
    """With discount 1/2 the values are 1/2, 1, and 1 / (1 - 1/2) = 2 for the loop.

    An untrained model has 0. Without the bootstrap at the time limit the loop has 1; with one at
    the termination the second state has 1.5 or more.
    """
    spec = make_spec(2, (2,) if actions == "discrete" else 2)
    agent = trained_agent(spec, two_steps(actions))
    model = agent.model
    obs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    state = model.observe(model.initial(3), torch.zeros(3, 2), obs)
    world = agent.world(generator)
    with torch.no_grad():
        values = world.value(model.branch(state, 1))[:, 0]
    assert torch.allclose(values, torch.tensor([0.5, 1.0, 2.0]), atol=0.2)
    planner = agent.planner
    plan = planner.plan(world, state, planner.initial_memory(3), generator)
    assert bool(plan.actions[1, 0, 0] > 0.0)  # in the second state the first step decides
    assert bool(plan.actions[0, 1, 0] > 0.0)  # one step later from the first state
    assert torch.allclose(plan.predicted_return[:2], torch.tensor([0.5, 1.0]), atol=0.2)
    step = model.step(model.branch(state, 1), torch.tensor([[1.0, 0.0]] * 3), generator)
    assert (step.continues[:, 0] > 0.5).tolist() == [True, False, True]
    assert torch.allclose(step.reward[1:, 0], torch.ones(2), atol=0.1)


@pytest.mark.parametrize("actions", [2, (3,)])
def test_learning_changes_all_networks_and_the_encoder_more_slowly(
    make_spec, counting_replay, actions
):
    spec = make_spec(1, actions)
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(100, 1, spec.action.dim)
    for step in range(60):
        action = np.eye(3)[rng.integers(3)] if actions != 2 else rng.uniform(-1, 1, 2)
        replay.add(
            rng.normal(size=1), action, rng.normal(), rng.normal(size=1), step % 9 == 8, False
        )
    model = make_model(spec)
    agent = make_agent(spec, model, pretrain_steps=1)
    before = agent.state_dict()
    # Two updates: after the first one rewards and values have gradients to their inputs.
    metrics = agent.update(replay, 1)
    assert all(np.isfinite(value) for value in metrics.values())
    after = agent.state_dict()
    largest = {}
    for name in ("encoder", "others"):
        pairs = zip(before["model"][name], after["model"][name], strict=True)
        changes = [float((new - old).abs().max()) for old, new in pairs]
        assert min(changes) > 0.0, name
        largest[name] = max(changes)
    # An update of Adam changes a weight by the learning rate at first: 0.3 against 1.
    assert largest["encoder"] == pytest.approx(0.3 * largest["others"], rel=0.2)
    for old, new in zip(before["actor"]["network"], after["actor"]["network"], strict=True):
        assert not torch.equal(old, new)


def test_the_weights_of_evaluations_have_the_scale_that_they_were_learned_with(
    make_spec, counting_replay
):
    spec = make_spec(1)
    model = make_model(spec)
    agent = make_agent(spec, model, assess_rounds=1)
    replay = counting_replay([3])
    model.refit_scales(replay, 0.5)
    agent.assessed.update(replay)
    mean = model.normalizer.normalizer.mean
    first, obs = mean.clone(), np.array([50.0])
    for _ in range(2):  # a round with exploration, then one of the copy
        replay.add(obs, np.zeros(1), 1.0, obs, False, True)
        agent.assessed.update(replay)
    for _ in range(3):
        replay.add(obs, np.zeros(1), 1.0, obs, False, True)
    model.refit_scales(replay, 0.5)
    second = mean.clone()
    assert not second.allclose(first)
    with agent._weights_of(explore=False):
        assert mean.equal(first)
    assert mean.equal(second)


def test_the_paper_s_size_draws_two_of_five_critics(make_spec, generator):
    spec = make_spec(3, 2)
    model = make_model(spec, size="5M")
    agent = make_agent(spec, model)
    two = chosen_critics(model.slow_critics, agent._random_critics())
    assert {len(parameter) for parameter in model.slow_critics} == {5}
    assert {len(parameter) for parameter in two} == {2}
    # Parameters without the policy; the paper's 5M counts tasks with larger observations.
    numbers = sum(p.numel() for p in [*model.nets.encoder_parameters, *model.nets.other_parameters])
    assert 4.0e6 < numbers < 5.0e6


def test_proposals_are_rollouts_of_the_policy(make_spec, generator):
    spec = make_spec(2, 1)
    model = make_model(spec)
    agent = make_agent(spec, model, proposals=3)
    with torch.no_grad():  # mean 0.3, standard deviation exp(-10)
        agent.actor.network.parameters[-1].copy_(torch.tensor([[[0.3, -20.0]]]))
    state = model.observe(model.initial(4), torch.zeros(4, 1), torch.randn(4, 2))
    plans = agent.world(generator).propose(state)
    assert plans.shape == (4, 3, 2, 1)  # [B, K, H, A]
    assert torch.allclose(plans, torch.full_like(plans, np.tanh(0.3)), atol=1e-3)


def test_the_entropy_of_the_policy_by_hand(make_spec, generator):
    """Standard deviation exp(-4) at first: the density of tanh(u) at u = 0 is that of u."""
    actor = PolicyPrior(make_spec(1, 1).action, 16, 8, generator, CPU, 1e-3, 0.0, 20.0)
    latent, noise = (
        torch.rand(4000, 16, generator=generator),
        torch.randn(4000, 1, generator=generator),
    )
    _, entropy = actor._value_and_entropy(latent, lambda z, a: a[:, 0], noise)
    assert float(entropy.mean().detach()) == pytest.approx(
        0.5 * np.log(2.0 * np.pi * np.e) - 4.0, abs=0.05
    )


def test_exploration_is_a_sample_of_the_planner_or_noise(make_spec):
    spec = make_spec(2, 1)
    assert make_agent(spec, make_model(spec)).exploration.kind == "sample"
    plain = MPPI(spec.action, CPU, horizon=2, population=16)
    assert make_agent(spec, make_model(spec), plain).exploration.kind == "noise"
    discrete = make_spec(2, (3,))
    search = MCTS(discrete.action, CPU, num_simulations=4)
    assert make_agent(discrete, make_model(discrete), search).exploration.kind == "epsilon"
    with pytest.raises(UserError, match="explore=sample: needs planner=mppi_elite"):
        make_agent(spec, make_model(spec), plain, explore="sample")
    with pytest.raises(UserError, match="proposals=16: must be below"):
        make_agent(spec, make_model(spec), plain, proposals=16)


def test_what_the_model_cannot_learn_from_is_refused(make_spec):
    with pytest.raises(UserError, match="model=TDMPC2: needs continuous actions or one discrete"):
        make_model(make_spec(2, (3, 2)))


def test_a_model_whose_latents_have_other_groups_is_refused(make_spec):
    model = make_model(make_spec())
    state = model.state_dict()
    model.load_state_dict(state)
    del state["latent_groups"]  # as an earlier version saved it
    with pytest.raises(UserError, match="earlier version"):
        model.load_state_dict(state)
