"""What a plan comes to, by hand: the toy's reward is its action, its observation counts steps."""

import math

import pytest
import torch

from mbrl_cli.models.imagination import imagine


def plans_of(*rows):
    """Return plans [1, N, H, 1] for one environment."""
    return torch.tensor(rows, dtype=torch.float32)[None, ..., None]


@pytest.fixture
def make_counter(make_spec, make_hand_made):
    """Return a builder: obs + 1 at each step, reward = action, `continues` of the obs reached."""

    def make(continues=torch.ones_like, **options):
        def transition(obs, action):
            reached = obs + 1.0
            reward = action.expand(-1, obs.shape[1])  # [M, P]
            return reached, reward, continues(reached[..., 0])

        return make_hand_made(make_spec(), transition, **options)

    return make


START = {"obs": torch.zeros(1, 1)}


def test_rewards_are_discounted_from_the_second_step_on(make_counter, generator):
    imagined = imagine(make_counter(), START, plans_of([1, 2, 3], [4, 0, -8]), 0.5, generator)
    assert imagined.returns[0, :, 0].tolist() == [1 + 1 + 0.75, 4 - 2]
    assert imagined.disagreement is None


def test_a_reward_counts_as_much_as_it_is_likely_to_be_reached(make_counter, generator):
    model = make_counter(lambda reached: torch.full_like(reached, 0.5))
    imagined = imagine(model, START, plans_of([1, 2, 3]), 1.0, generator)
    assert imagined.returns.flatten().tolist() == [1 + 0.5 * 2 + 0.25 * 3]
    imagined = imagine(model, START, plans_of([1, 2, 3]), 0.5, generator)
    assert imagined.returns.flatten().tolist() == [1 + 0.25 * 2 + 0.0625 * 3]


def test_the_step_that_ends_the_task_still_pays_and_nothing_after_it(make_counter, generator):
    model = make_counter(lambda reached: (reached < 2.0).float())  # the second step ends it
    imagined = imagine(model, START, plans_of([1, 2, 3, 1000]), 1.0, generator)
    assert imagined.returns.flatten().tolist() == [3.0]


def test_every_particle_has_its_own_return(make_spec, make_hand_made, generator):
    def transition(obs, action):  # particle p starts at 0 and lives for p + 1 steps
        reached = obs + 1.0
        ends = reached[..., 0] > torch.arange(3.0)
        return reached, action.expand(-1, 3), 1.0 - ends.float()

    model = make_hand_made(make_spec(), transition, num_particles=3)
    imagined = imagine(model, START, plans_of([1, 10, 100], [2, 20, 200]), 1.0, generator)
    assert imagined.returns.tolist() == [[[1, 11, 111], [2, 22, 222]]]


def test_all_plans_of_all_environments_are_one_batch_and_keep_their_places(
    make_spec, make_hand_made, generator
):
    def transition(obs, action):
        return obs, obs[..., 0] + action, torch.ones(obs.shape[:2])

    model = make_hand_made(make_spec(), transition)
    state = {"obs": torch.tensor([[100.0], [200.0]])}
    plans = torch.arange(12.0).view(2, 3, 2, 1)  # B = 2, N = 3, H = 2
    imagined = imagine(model, state, plans, 1.0, generator)
    # Twice the environment's observation, and both actions of the plan.
    assert imagined.returns[..., 0].tolist() == [[201, 205, 209], [413, 417, 421]]
    assert model.rows_stepped == [6, 6]


def test_disagreement_is_summed_with_the_weight_of_its_step(make_counter, generator):
    model = make_counter(
        lambda reached: torch.full_like(reached, 0.5), spread=lambda obs: 10.0 * obs[:, 0, 0]
    )
    imagined = imagine(model, START, plans_of([1, 1, 1], [1, 1, 1]), 0.5, generator, True)
    # 10, 20, 30 at the steps 1, 2, 3, weighted by 1, 1/4, 1/16
    assert imagined.disagreement.tolist() == [[10 + 5 + 1.875] * 2]
    assert imagined.returns[..., 0].tolist() == [[1.3125] * 2]


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_what_is_imagined_after_the_end_never_counts_even_if_it_diverges(
    make_spec, make_hand_made, generator, reward
):
    def transition(obs, action):  # ends with the second step; from the third on it explodes
        reached = obs + 1.0
        late = reached[..., 0] > 2.0
        return (
            reached,
            torch.where(late, reward, action.expand(-1, 1)),
            (reached[..., 0] < 2.0).float(),
        )

    model = make_hand_made(make_spec(), transition)
    imagined = imagine(model, START, plans_of([1, 2, 3, 4]), 1.0, generator)
    assert imagined.returns.flatten().tolist() == [3.0]


def test_a_value_stands_for_what_comes_after_the_horizon(make_counter, generator):
    def value(state):  # ten times the number of steps taken
        return 10.0 * state["obs"][..., 0]

    imagined = imagine(make_counter(), START, plans_of([1, 2]), 0.5, generator, value=value)
    assert imagined.returns.flatten().tolist() == [1 + 0.5 * 2 + 0.25 * 20]
    half = make_counter(lambda reached: torch.full_like(reached, 0.5))
    imagined = imagine(half, START, plans_of([1, 2]), 0.5, generator, value=value)
    assert imagined.returns.flatten().tolist() == [1 + 0.25 * 2 + 0.0625 * 20]


def test_nothing_is_valued_after_a_certain_end(make_counter, generator):
    model = make_counter(lambda reached: (reached < 2.0).float())  # the second step ends it
    lost = float("nan")
    imagined = imagine(
        model, START, plans_of([1, 2]), 1.0, generator,
        value=lambda state: torch.full_like(state["obs"][..., 0], lost),
    )  # fmt: skip
    assert imagined.returns.flatten().tolist() == [3.0]
