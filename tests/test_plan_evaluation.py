"""Returns of plans in a model whose rewards are known, against sums computed by hand."""

import math

import pytest
import torch

from mbrl_cli.models.plan_evaluation import evaluate_plans, rollout_returns

START = {"obs": torch.zeros(1, 1)}


def plans_of(*rows):
    """Return plans [1, N, H, 1] for one environment."""
    return torch.tensor(rows, dtype=torch.float32)[None, ..., None]


@pytest.fixture
def make_counter(make_spec, make_hand_made):
    """Return a builder of models: next_obs = obs + 1, reward = action.

    `continues` maps next_obs [M, P] to the continue probability.
    """

    def make(continues=torch.ones_like, **options):
        def transition(obs, action):
            next_obs = obs + 1.0
            reward = action.expand(-1, obs.shape[1])  # [M, P]
            return next_obs, reward, continues(next_obs[..., 0])

        return make_hand_made(make_spec(), transition, **options)

    return make


def test_rewards_are_discounted_from_the_second_step_on(make_counter, generator):
    plans = plans_of([1, 2, 3], [4, 0, -8])
    evaluation = evaluate_plans(make_counter(), START, plans, 0.5, generator)
    assert evaluation.returns[0, :, 0].tolist() == [1 + 1 + 0.75, 4 - 2]
    assert evaluation.disagreement is None


def test_a_reward_is_weighted_by_the_probability_that_its_step_is_reached(make_counter, generator):
    model = make_counter(lambda next_obs: torch.full_like(next_obs, 0.5))
    evaluation = evaluate_plans(model, START, plans_of([1, 2, 3]), 1.0, generator)
    assert evaluation.returns.flatten().tolist() == [1 + 0.5 * 2 + 0.25 * 3]
    evaluation = evaluate_plans(model, START, plans_of([1, 2, 3]), 0.5, generator)
    assert evaluation.returns.flatten().tolist() == [1 + 0.25 * 2 + 0.0625 * 3]


def test_the_terminating_step_has_its_reward_and_later_steps_have_none(make_counter, generator):
    model = make_counter(lambda next_obs: (next_obs < 2.0).float())  # terminates at step 2
    evaluation = evaluate_plans(model, START, plans_of([1, 2, 3, 1000]), 1.0, generator)
    assert evaluation.returns.flatten().tolist() == [3.0]


def test_every_particle_has_its_own_return(make_spec, make_hand_made, generator):
    def transition(obs, action):  # particle p terminates at step p + 1
        next_obs = obs + 1.0
        terminated = next_obs[..., 0] > torch.arange(3.0)
        return next_obs, action.expand(-1, 3), 1.0 - terminated.float()

    model = make_hand_made(make_spec(), transition, num_particles=3)
    evaluation = evaluate_plans(model, START, plans_of([1, 10, 100], [2, 20, 200]), 1.0, generator)
    assert evaluation.returns.tolist() == [[[1, 11, 111], [2, 22, 222]]]


def test_plans_of_several_environments_are_one_batch_in_order(make_spec, make_hand_made, generator):
    def transition(obs, action):
        return obs, obs[..., 0] + action, torch.ones(obs.shape[:2])

    model = make_hand_made(make_spec(), transition)
    state = {"obs": torch.tensor([[100.0], [200.0]])}
    plans = torch.arange(12.0).view(2, 3, 2, 1)  # B = 2, N = 3, H = 2
    evaluation = evaluate_plans(model, state, plans, 1.0, generator)
    # Twice the environment's observation plus both actions of the plan.
    assert evaluation.returns[..., 0].tolist() == [[201, 205, 209], [413, 417, 421]]
    assert model.rows_stepped == [6, 6]


def test_disagreement_is_summed_with_the_weights_of_the_rewards(make_counter, generator):
    model = make_counter(
        lambda next_obs: torch.full_like(next_obs, 0.5),
        disagreement=lambda obs: 10.0 * obs[:, 0, 0],
    )
    plans = plans_of([1, 1, 1], [1, 1, 1])
    evaluation = evaluate_plans(model, START, plans, 0.5, generator, with_disagreement=True)
    # 10, 20, 30 at the steps 1, 2, 3, weighted by 1, 1/4, 1/16
    assert evaluation.disagreement.tolist() == [[10 + 5 + 1.875] * 2]
    assert evaluation.returns[..., 0].tolist() == [[1.3125] * 2]


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_rewards_after_a_certain_termination_never_count_even_if_they_diverge(
    make_spec, make_hand_made, generator, reward
):
    def transition(obs, action):  # terminates at step 2; diverges from step 3 on
        next_obs = obs + 1.0
        late = next_obs[..., 0] > 2.0
        return (
            next_obs,
            torch.where(late, reward, action.expand(-1, 1)),
            (next_obs[..., 0] < 2.0).float(),
        )

    model = make_hand_made(make_spec(), transition)
    evaluation = evaluate_plans(model, START, plans_of([1, 2, 3, 4]), 1.0, generator)
    assert evaluation.returns.flatten().tolist() == [3.0]


def test_a_continue_probability_of_nan_makes_the_return_nan(make_counter, generator):
    model = make_counter(lambda next_obs: torch.where(next_obs < 2.0, 1.0, math.nan))
    evaluation = evaluate_plans(model, START, plans_of([1, 2, 3], [1, 2, 4]), 1.0, generator)
    assert evaluation.returns.isnan().all()


def test_a_value_is_added_as_the_return_after_the_horizon(make_counter, generator):
    def value(state):  # ten times the number of steps
        return 10.0 * state["obs"][..., 0]

    evaluation = evaluate_plans(
        make_counter(), START, plans_of([1, 2]), 0.5, generator, value=value
    )
    assert evaluation.returns.flatten().tolist() == [1 + 0.5 * 2 + 0.25 * 20]
    half = make_counter(lambda next_obs: torch.full_like(next_obs, 0.5))
    evaluation = evaluate_plans(half, START, plans_of([1, 2]), 0.5, generator, value=value)
    assert evaluation.returns.flatten().tolist() == [1 + 0.25 * 2 + 0.0625 * 20]


def test_a_value_after_a_certain_termination_does_not_count(make_counter, generator):
    model = make_counter(lambda next_obs: (next_obs < 2.0).float())  # terminates at step 2
    evaluation = evaluate_plans(
        model, START, plans_of([1, 2]), 1.0, generator,
        value=lambda state: torch.full_like(state["obs"][..., 0], math.nan),
    )  # fmt: skip
    assert evaluation.returns.flatten().tolist() == [3.0]


def test_rollout_returns_count_only_the_given_number_of_steps(make_counter, generator):
    rows = {"obs": torch.zeros(3, 1, 1)}
    actions = torch.tensor([1.0, 2.0, 4.0])[:, None, None].expand(3, 3, 1)  # [H, M, A]
    steps = torch.tensor([1, 2, 3])
    half = make_counter(lambda next_obs: torch.full_like(next_obs, 0.5))
    for model, second, third in ((make_counter(), 0.5, 0.25), (half, 0.25, 0.0625)):
        returns = rollout_returns(model, rows, actions, steps, 0.5, generator)
        expected = [1.0, 1 + 2 * second, 1 + 2 * second + 4 * third]
        assert returns[:, 0].tolist() == expected
