"""Dreamer: its returns, its action distribution, and the averaged actor."""

import math

import pytest
import torch

from mbrl_cli.agents.action_distribution import ActionDistribution
from mbrl_cli.agents.actor_critic import ActorCritic
from mbrl_cli.agents.dreamer import Dreamer
from mbrl_cli.agents.lambda_returns import lambda_returns
from mbrl_cli.errors import UserError

CPU = torch.device("cpu")


def test_lambda_returns_by_hand():
    # R_2 = 1 + 0.5 * 8 = 5; R_1 = 1 + 0.5 (0.5 * 4 + 0.5 * 5) = 3.25;
    # R_0 = 1 + 0.5 (0.5 * 2 + 0.5 * 3.25) = 2.3125
    reward, discount = torch.ones(3, 1), torch.full((3, 1), 0.5)
    returns = lambda_returns(reward, discount, torch.tensor([[2.0], [4.0], [8.0]]), 0.5)
    assert returns[:, 0].tolist() == [2.3125, 3.25, 5.0]


def test_rewards_after_a_termination_do_not_count():
    discount = torch.tensor([[0.9], [0.0], [0.9]])
    returns = lambda_returns(torch.ones(3, 1), discount, torch.full((3, 1), 100.0), 1.0)
    assert returns[1] == 1.0
    assert returns[0] == pytest.approx(1.9)  # 1 + 0.9 * 1


def test_discrete_actions_have_their_probabilities(make_action):
    """Two blocks; logits log 3 and 0 with half uniform: 0.5 * 3/4 + 0.25 = 0.625."""
    actions = ActionDistribution(make_action((2, 3)), 0.5)
    out = torch.tensor([[math.log(3.0), 0.0, 0.0, 0.0, 0.0]]).expand(4000, -1)
    samples = actions.sample(out, torch.Generator().manual_seed(0))
    assert samples.sum(-1).unique().tolist() == [2.0]
    # standard deviation of the mean: sqrt(0.625 * 0.375 / 4000) = 0.008
    assert samples[:, 0].mean().item() == pytest.approx(0.625, abs=0.03)
    log_prob, entropy = actions.log_prob_and_entropy(out[:1], torch.tensor([[1, 0, 0, 1, 0.0]]))
    assert log_prob.item() == pytest.approx(math.log(0.625 / 3.0))
    expected = -0.625 * math.log(0.625) - 0.375 * math.log(0.375) + math.log(3.0)
    assert entropy.item() == pytest.approx(expected)
    assert actions.mode(out)[0].tolist() == [1.0, 0.0, 1.0, 0.0, 0.0]


def test_continuous_actions_have_their_density(make_action):
    actions = ActionDistribution(make_action(1), 0.0)
    out = torch.tensor([[math.atanh(0.5), -2.0]])  # std 0.1 + 0.9 / 2 = 0.55
    log_density, entropy = actions.log_prob_and_entropy(out, torch.tensor([[0.7]]))
    normal = torch.distributions.Normal(0.5, 0.55)
    assert log_density.item() == pytest.approx(normal.log_prob(torch.tensor(0.7)).item(), rel=1e-5)
    assert entropy.item() == pytest.approx(normal.entropy().item(), rel=1e-5)


def test_evaluations_use_the_moving_average_of_the_actor(make_rssm, generator):
    model = make_rssm()
    settings = {
        "hidden": 4, "rollout_length": 2, "rollouts": 3, "entropy_scale": 0.1,
        "actor_learning_rate": 0.1, "critic_learning_rate": 0.1, "actor_ema_rate": 0.25,
    }  # fmt: skip
    learner, restored = (ActorCritic(model, CPU, generator, **settings) for _ in range(2))
    start = model.initial(3)
    before = [parameter.clone() for parameter in learner.actor.parameters()]
    learner.learn(start["deter"], start["stoch"], torch.ones(3))
    assert not torch.equal(learner.actor.out, learner.ema_actor.out)
    nets = learner.ema_actor.parameters(), before, learner.actor.parameters()
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


def test_the_scale_of_returns_is_their_range_but_at_least_one(make_rssm, generator):
    learner = ActorCritic(make_rssm(), CPU, generator)
    # 5th and 95th percentile of 0 ... 99 are the 5th and the 95th number: 4 and 94.
    returns = torch.arange(100.0).view(4, 25)
    assert learner._return_scale(returns).item() == 1.0  # 0.01 * 90 = 0.9
    # 0.9 + 0.01 (90 - 0.9) = 1.791
    assert learner._return_scale(returns).item() == pytest.approx(1.791, rel=1e-5)


def test_a_model_without_latent_states_is_refused(make_spec, make_ensemble, generator):
    spec = make_spec()
    with pytest.raises(UserError, match=r"model: agent=dreamer .* use model=rssm or model=latent"):
        Dreamer(spec, CPU, generator, make_ensemble(spec))
