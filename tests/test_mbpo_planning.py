"""MBPO that acts with a planner, which uses its critics and its actor."""

import numpy as np
import pytest
import torch
from mbpo_agent import make_mbpo

from mbrl_cli.errors import UserError
from mbrl_cli.planners.random_shooting import RandomShooting

CPU = torch.device("cpu")


def make_shooting(spec, horizon=1, population=64):
    return RandomShooting(spec.action, CPU, horizon, population, 0.0, None, 1, None)


@pytest.mark.parametrize(
    ("act", "with_planner", "message"),
    [("plan", False, "needs a planner"), ("policy", True, "uses no planner")],
)
def test_a_planner_is_given_if_and_only_if_it_acts(
    make_spec, make_recording_model, act, with_planner, message
):
    spec = make_spec()
    planner = make_shooting(spec) if with_planner else None
    with pytest.raises(UserError, match=rf"agent\.act={act}: {message}"):
        make_mbpo(spec, make_recording_model(spec), act=act, planner=planner)


def test_as_many_proposals_as_plans_are_refused(make_spec, make_recording_model):
    spec = make_spec()
    planner = make_shooting(spec, population=4)
    with pytest.raises(UserError, match=r"agent\.proposals=4: must be below planner\.population=4"):
        make_mbpo(spec, make_recording_model(spec), act="plan", planner=planner, proposals=4)


def test_no_copy_of_the_actor_is_assessed_where_a_planner_acts(make_spec, make_recording_model):
    spec = make_spec()
    model, planner = make_recording_model(spec), make_shooting(spec)
    agent = make_mbpo(spec, model, act="plan", planner=planner, sac={"assess_rounds": 3})
    assert agent.sac.assessed.rounds == 0


def test_the_planner_maximises_the_critics_value_of_the_last_state(
    make_spec, make_hand_made, generator
):
    """All rewards are 0; the critics' value is largest at 0.5, one step from the start."""
    spec = make_spec()

    def line(obs, action):
        next_obs = obs + action[:, None]  # [M, P, O]
        return next_obs, torch.zeros_like(obs[..., 0]), torch.ones_like(obs[..., 0])

    agent = make_mbpo(spec, make_hand_made(spec, line), act="plan", planner=make_shooting(spec))
    agent.sac.state_value = lambda obs: -(obs[:, 0] - 0.5).abs()
    policy = agent.policy([None], explore=False, generator=generator)
    decision = policy.act(np.zeros((1, 1), np.float32))
    assert abs(float(decision.action[0, 0]) - 0.5) < 0.1  # the best of 64 plans in [-1, 1]
    assert decision.predicted_return is None  # it would cover all future steps


def test_the_first_proposal_follows_the_modes_of_the_actor(
    make_spec, make_recording_model, generator
):
    spec = make_spec(actions=(3,))
    agent = make_mbpo(
        spec,
        make_recording_model(spec),
        act="plan",
        planner=make_shooting(spec, horizon=4),
        proposals=5,
    )
    start = torch.tensor([[0.5], [2.0]])
    plans = agent.planning.world(generator).propose({"obs": start})
    assert plans.shape == (2, 5, 4, 3)
    for env, obs in enumerate(start[:, 0].tolist()):
        visited = torch.tensor([[obs + step] for step in range(4)])  # `drift` adds 1 each step
        assert torch.equal(plans[env, 0], agent.sac.act(visited, None))
    assert torch.equal(plans.sum(-1), torch.ones(2, 5, 4))
