"""Tree search over random outcomes: outcome nodes, transpositions, ends of particles."""

import numpy as np
import pytest
import torch
from search_worlds import SELECT, make_mcts, make_world, random_stochastic_mdp, search

from mbrl_cli.planners.tree_search.tree import root_q


def test_with_several_outcomes_later_actions_depend_on_the_outcome(make_action):
    """The first step leads to place 1 or 2; there action place - 1 pays 1, the other pays 0."""
    action = make_action((2,))

    def step(place, taken):
        k = taken.argmax(-1)[:, None]
        return place + torch.tensor([[1, 2]]), (place == k + 1), (place == 0)

    world = make_world(action, step, particles=2)
    values = {}
    for outcomes, transpositions in ((1, False), (2, False), (2, True), (3, True)):
        planner = make_mcts(
            action, num_simulations=200, outcomes=outcomes, transpositions=transpositions, horizon=2
        )
        values[outcomes, transpositions] = np.nanmax(root_q(search(planner, world, [0]).tree))
    # Any open-loop plan is right in one of the two outcomes.
    assert values[1, False] == pytest.approx(0.5, abs=0.01)
    assert 0.9 < values[2, False] < 1.0  # a mean that contains exploration; measured 0.91
    assert values[2, True] == values[3, True] == 1.0  # no more outcomes than particles


@pytest.mark.parametrize("seed", range(3))
def test_with_transpositions_a_complete_graph_has_the_optimal_q(make_action, seed):
    """5 states, 4 steps: at most 1 + 3 * 5 nodes above the horizon with 2 actions each."""
    action = make_action((2,))
    moves, rewards = random_stochastic_mdp(seed)
    optimal = np.zeros((5, 2))
    for _ in range(4):
        after = rewards.numpy() + 0.9 * optimal.max(1)[moves.numpy()]  # [S, K, 2]
        optimal = after.mean(-1)

    def step(place, taken):
        k, outcome = taken.argmax(-1)[:, None], torch.arange(2)
        return moves[place, k, outcome], rewards[place, k, outcome], torch.ones_like(place)

    world = make_world(action, step, 0.9, particles=2)
    planner = make_mcts(action, num_simulations=400, outcomes=2, transpositions=True, horizon=4)
    result = search(planner, world, list(range(5)))
    assert root_q(result.tree) == pytest.approx(optimal, abs=1e-5)
    assert result.action.tolist() == optimal.argmax(1).tolist()
    assert ((result.tree.visit_count > 0).any(-1).sum(1) <= 16).all()


@SELECT
def test_search_with_outcomes_converges_to_value_iteration(make_action, select):
    action = make_action((2,))
    moves, rewards = random_stochastic_mdp(0)
    optimal = np.zeros((5, 2))
    for _ in range(3):
        optimal = (rewards.numpy() + 0.9 * optimal.max(1)[moves.numpy()]).mean(-1)

    def step(place, taken):
        k, outcome = taken.argmax(-1)[:, None], torch.arange(2)
        return moves[place, k, outcome], rewards[place, k, outcome], torch.ones_like(place)

    world = make_world(action, step, 0.9, particles=2)
    errors = []
    for simulations in (30, 1000):
        planner = make_mcts(
            action, num_simulations=simulations, outcomes=2, horizon=3, select=select
        )
        result = search(planner, world, list(range(5)))
        best = np.nanmax(root_q(result.tree), axis=1)
        errors.append(np.abs(best - optimal.max(1)).mean())
        tree = result.tree
        # The value of a node is the mean of Q, weighted by visits, and of its raw value, 0.
        mean_q = (tree.visit_count * tree.q).sum(-1) / tree.node_visits
        assert mean_q[:, 0] == pytest.approx(tree.value[:, 0])
    # Measured errors: 0.32 and 0.11 (PUCT), 0.30 and 0.02 (Gumbel).
    assert errors[1] < 0.5 * errors[0]
    assert result.action.tolist() == optimal.argmax(1).tolist()


def test_no_step_is_imagined_after_the_end_of_an_episode(make_action):
    """The episode ends with the first step, and later rewards do not count."""
    action = make_action((2,))
    stepped = []

    def step(place, taken):
        stepped.append(place.flatten().tolist())
        return place + 1, 1.0 + 100.0 * place, torch.zeros_like(place)

    result = search(make_mcts(action, num_simulations=30), make_world(action, step), [0])
    assert stepped == [[0], [0]]  # each action once; later simulations end at terminal nodes
    assert result.visit_count[0].sum() == 30
    assert root_q(result.tree)[0].tolist() == [1.0, 1.0]


def test_continues_discounts_later_rewards(make_action):
    """One action; each of two steps pays 1 and continues with probability 1/2: 1 + 1/2 (1 + 0)."""
    action = make_action((1,))
    world = make_world(
        action, lambda place, taken: (place, torch.ones_like(place), 0.5 * torch.ones_like(place))
    )
    result = search(make_mcts(action, num_simulations=300, horizon=2), world, [0])
    # One of the 300 visits of the node at depth 1 is its raw value, 0.
    assert root_q(result.tree)[0, 0] == pytest.approx(1.0 + 0.5 * 299 / 300)


def test_particles_whose_episode_is_over_have_no_weight(make_action):
    """The episode of one of two particles ends at the first step; its later rewards are NaN."""
    action = make_action((1,))

    def step(place, taken):
        first = torch.tensor([[True, False]]).expand_as(place)
        after = torch.where(first & (place > 0), float("nan"), 4.0)
        reward = torch.where(place > 0, after, 1.0)
        return place + 1, reward, torch.where(first, 0.0, 1.0)

    world = make_world(action, step, particles=2)
    result = search(make_mcts(action, num_simulations=2, horizon=2), world, [0])
    assert result.nonfinite == 0
    # 1 for both, then 4 for half of them; one of the child's two visits is its raw value, 0.
    assert root_q(result.tree)[0, 0] == pytest.approx(1.0 + 0.5 * (0.0 + 4.0) / 2)


def test_an_action_with_a_diverged_step_is_not_recommended(make_action):
    action = make_action((3,))

    def step(place, taken):
        reward = torch.where(taken[:, 2:] > 0, float("nan"), taken[:, :1] - 5.0)
        return place, reward, torch.zeros_like(place)

    result = search(make_mcts(action, num_simulations=30), make_world(action, step), [0])
    assert result.nonfinite == 1
    assert result.action.tolist() == [0]
