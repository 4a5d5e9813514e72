"""Planners of action sequences: diverged plans, memory, time budgets, risk, MPPI."""

import math

import pytest
import torch
from function_world import (
    ALL,
    BEST,
    HORIZON,
    FunctionWorld,
    below_target,
    decide,
    is_legal,
    make_cem,
    make_mppi,
    make_shooting,
)

from mbrl_cli.errors import UserError


@BEST
def test_the_best_plan_of_the_last_iteration_is_chosen(make_action, generator, make_planner):
    world = FunctionWorld(below_target)
    plan = decide(make_planner(make_action(2)), world, generator, num_envs=2)
    returns, plans = world.results[-1][..., 0], world.plans[-1]
    best = returns.argmax(1)
    assert torch.equal(plan.predicted_return, returns.max(1).values)
    assert torch.equal(plan.actions, plans[torch.arange(2), best])


@BEST
@pytest.mark.parametrize("actions", [2, (3,), (2, 4)])
def test_sampled_plans_are_legal_and_cover_all_choices(
    make_action, generator, make_planner, actions
):
    action = make_action(actions)
    world = FunctionWorld(lambda state, plans: torch.zeros(plans.shape[:2]))
    decide(make_planner(action, population=400), world, generator)
    first = world.plans[0]
    assert all(is_legal(action, plans) for plans in world.plans)
    if action.kind == "discrete":  # uniform; 4 standard errors are 0.1
        expected = torch.cat([torch.full((n,), 1 / n) for n in action.sizes])
        torch.testing.assert_close(
            first.mean((0, 1)), expected.expand(HORIZON, -1), atol=0.1, rtol=0.0
        )
    else:
        assert first.mean((0, 1)).abs().max() < 0.2


@BEST
@pytest.mark.parametrize("diverged", [math.nan, math.inf, -math.inf])
def test_a_diverged_plan_is_never_chosen_and_is_counted(
    make_action, generator, make_planner, diverged
):
    def diverges_to_the_right(state, plans):  # the optimum is there
        first = plans[..., 0, 0]
        return torch.where(first > 0.1, diverged, first)

    world = FunctionWorld(diverges_to_the_right)
    plan = decide(make_planner(make_action(1)), world, generator, num_envs=2)
    counted = sum(int((~result.isfinite()).sum()) for result in world.results)
    assert int(plan.nonfinite) == counted > 0
    assert plan.predicted_return.isfinite().all()
    assert (plan.actions[:, 0] <= 0.1).all()
    assert (plan.actions[:, 0] > -0.1).all()  # the best finite plan


@BEST
@pytest.mark.parametrize("risk", [None, 0.25])
def test_a_plan_with_one_diverged_particle_is_not_chosen(
    make_action, generator, make_planner, risk
):
    def one_explodes(state, plans):  # the other particles prefer a large action
        first = plans[..., 0, 0, None].expand(-1, -1, 4).clone()
        first[..., 3] = torch.where(first[..., 3] > 0.1, math.inf, first[..., 3])
        return first

    planner = make_planner(make_action(1), risk=risk)
    plan = decide(planner, FunctionWorld(one_explodes), generator)
    assert float(plan.actions[:, 0]) <= 0.1
    assert int(plan.nonfinite) > 0


@BEST
def test_if_all_plans_diverge_the_action_is_still_legal(make_action, generator, make_planner):
    for actions in (2, (3,)):
        action = make_action(actions)
        world = FunctionWorld(lambda state, plans: torch.full(plans.shape[:2], math.nan))
        plan = decide(make_planner(action), world, generator)
        assert is_legal(action, plan.actions[:, 0])
        assert int(plan.nonfinite) == sum(result.numel() for result in world.results)


@BEST
@pytest.mark.parametrize("actions", [2, (3,)])
def test_the_shifted_best_plan_is_a_candidate_of_the_next_decision(
    make_action, generator, make_planner, actions
):
    planner = make_planner(make_action(actions))
    world = FunctionWorld(lambda state, plans: plans[..., 0].sum(-1))
    first = decide(planner, world, generator, num_envs=2)
    shifted = torch.cat([first.actions[:, 1:], first.actions[:, -1:]], dim=1)
    again = FunctionWorld(lambda state, plans: plans[..., 0].sum(-1))
    second = decide(planner, again, generator, num_envs=2, memory=first.memory)
    same = (again.plans[0] == shifted[:, None]).flatten(2).all(-1)  # [2, N]
    assert same.any(1).all()  # it is among the candidates
    assert (second.predicted_return >= shifted[..., 0].sum(-1)).all()


def test_mppi_weighs_plans_by_their_returns(make_action, generator):
    world = FunctionWorld(lambda state, plans: plans[..., 0, 0])
    plan = decide(make_mppi(make_action(1), iterations=1, temperature=0.5), world, generator)
    returns = world.results[0][0, :, 0]
    weights = torch.exp(returns / (0.5 * returns.std(unbiased=False)))
    weights /= weights.sum()
    torch.testing.assert_close(plan.actions[0, :, 0], weights @ world.plans[0][0, :, :, 0])


def test_mppi_finds_the_optimum_of_a_quadratic(make_action, generator):
    planner = make_mppi(make_action(2), iterations=40, spread=0.2, noise_beta=0.0, temperature=0.2)
    plan = decide(planner, FunctionWorld(below_target), generator)
    # Optimum 0, all actions zero -4.49.
    assert float(below_target(None, plan.actions)) > -0.2


def test_mppi_ignores_diverged_plans(make_action, generator):
    world = FunctionWorld(
        lambda state, plans: torch.where(plans[..., 0, 0] > 0.1, math.inf, plans[..., 0, 0])
    )
    plan = decide(make_mppi(make_action(1)), world, generator)
    assert float(plan.actions[0, 0]) <= 0.1
    assert int(plan.nonfinite) > 0


@ALL
def test_plans_are_shifted_by_the_number_of_executed_steps(make_action, generator, make_planner):
    planner = make_planner(make_action(1), replan_every=2)
    ramp = torch.arange(float(HORIZON)).view(1, HORIZON, 1)
    assert planner.shifted(ramp).flatten().tolist() == [2, 3, 4, 5, 5, 5]
    with pytest.raises(UserError, match=r"planner\.replan_every=7: more than planner\.horizon=6"):
        make_planner(make_action(1), replan_every=7)


class Clock:
    """A clock that advances by `cost` milliseconds with every evaluation of plans."""

    def __init__(self, cost):
        self.now, self.cost = 0.0, cost

    def __call__(self):
        return self.now

    def returns(self, state, plans):
        self.now += 1e-3 * self.cost
        return below_target(state, plans)


@ALL
def test_iterations_stop_before_the_time_budget_is_exceeded(
    make_action, generator, make_planner, monkeypatch
):
    clock = Clock(cost=10.0)
    monkeypatch.setattr("mbrl_cli.planners.deadline.time.perf_counter", clock)
    planner = make_planner(make_action(2), max_plan_ms=25.0)
    memory = planner.initial_memory(1)
    for _ in range(3):
        before, world = clock.now, FunctionWorld(clock.returns)
        plan = decide(planner, world, generator, memory=memory)
        memory = plan.memory
        assert len(world.plans) == (1 if make_planner is make_shooting else 2)
        assert clock.now - before <= 25e-3
        assert not planner.deadline.was_late
    # If an iteration becomes too slow, one decision is late. The next ones skip it and continue the
    # old plan.
    clock.cost = 30.0
    decide(planner, FunctionWorld(clock.returns), generator, memory=memory)
    assert planner.deadline.was_late
    world = FunctionWorld(clock.returns)
    plan = decide(planner, world, generator, memory=memory)
    assert not world.plans
    assert plan.predicted_return.isnan().all()
    assert plan.actions.shape == (1, HORIZON, 2)


def gamble(state, plans):
    """Choice 0 is safe and returns 4. Choice 1 returns 0 or 10, each for half of the particles."""
    risky = plans[..., 0, 1, None]  # [B, N, 1]
    return 4.0 * (1.0 - risky) + risky * torch.tensor([0.0, 10.0, 0.0, 10.0, 0.0, 10.0])


@BEST
@pytest.mark.parametrize(("risk", "choice", "predicted"), [(None, 1, 5.0), (0.25, 0, 4.0)])
def test_risk_chooses_between_a_safe_and_a_risky_plan(
    make_action, generator, make_planner, risk, choice, predicted
):
    planner = make_planner(make_action((2,)), risk=risk)
    plan = decide(planner, FunctionWorld(gamble), generator)
    assert int(plan.actions[:, 0].argmax()) == choice
    assert float(plan.predicted_return) == predicted


@BEST
@pytest.mark.parametrize(("bonus", "choice", "predicted"), [(0.0, 0, 5.0), (0.5, 1, 4.0)])
def test_a_disagreement_bonus_changes_the_plan_but_not_the_prediction(
    make_action, generator, make_planner, bonus, choice, predicted
):
    world = FunctionWorld(
        lambda state, plans: 5.0 * plans[..., 0, 0] + 4.0 * plans[..., 0, 1],
        disagreement=lambda plans: 3.0 * plans[..., 0, 1],  # 4 + 0.5 * 3 > 5
    )
    plan = decide(make_planner(make_action((2,))), world, generator, bonus=bonus)
    assert int(plan.actions[:, 0].argmax()) == choice
    assert float(plan.predicted_return) == predicted


def test_a_batch_of_environments_is_planned_as_well_as_each_alone(make_action, generator):
    goals = torch.tensor([[-0.8], [0.1], [0.7]])

    def to_goal(state, plans):
        return -(plans - state["obs"][:, None, None]).square().sum((-2, -1))

    planner = make_cem(make_action(1), iterations=10)
    together = decide(planner, FunctionWorld(to_goal), generator, 3, {"obs": goals})
    alone = [
        decide(planner, FunctionWorld(to_goal), generator, 1, {"obs": goal[None]}) for goal in goals
    ]
    # All actions zero: -3.84, -0.06, -2.94; optimum 0; measured at least -0.004 in both cases.
    assert (together.predicted_return > -0.01).all()
    assert all(float(plan.predicted_return) > -0.01 for plan in alone)
    torch.testing.assert_close(together.actions[:, 0], goals, atol=0.1, rtol=0.0)


@BEST
def test_plans_are_determined_by_the_seed(make_action, make_planner):
    def plan(seed):
        generator = torch.Generator().manual_seed(seed)
        return decide(make_planner(make_action(2)), FunctionWorld(below_target), generator).actions

    assert torch.equal(plan(0), plan(0))
    assert not torch.equal(plan(0), plan(1))


@pytest.mark.parametrize("iterations", [1, 4])
def test_each_iteration_evaluates_the_whole_population_in_one_call(
    make_action, generator, iterations
):
    world = FunctionWorld(below_target)
    decide(make_cem(make_action(2), iterations=iterations), world, generator, num_envs=3)
    assert [tuple(plans.shape) for plans in world.plans] == [(3, 100, HORIZON, 2)] * iterations
    world = FunctionWorld(below_target)
    decide(make_shooting(make_action(2)), world, generator, num_envs=3)
    assert [tuple(plans.shape) for plans in world.plans] == [(3, 200, HORIZON, 2)]
