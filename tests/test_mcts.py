"""Tree search: visit counts by hand, convergence to value iteration, independent trees."""

import dataclasses

import numpy as np
import pytest
import torch
from search_worlds import SELECT, make_mcts, make_world, search

from mbrl_cli.planners.tree_search.node_actions import NodeActions
from mbrl_cli.planners.tree_search.principal_variations import principal_variations
from mbrl_cli.planners.tree_search.sequential_halving import considered_visits
from mbrl_cli.planners.tree_search.tree import root_q


@pytest.fixture
def bandit(make_action):
    """Return a world of one step with reward 0 (action 0) or 1 (action 1)."""
    action = make_action((2,))

    def step(place, taken):
        return place, taken[:, 1:], torch.zeros_like(place)

    return make_world(action, step)


def test_puct_visit_counts_of_a_bandit(make_action, bandit):
    """PUCT with prior 1/2 and exploration 1; arm 0 pays 0, arm 1 pays 1.

    Simulation 1: no Q is known, ties go to arm 0. Then Q = (0, unknown); the range of Q is empty,
    so all normalised Q are 0. Simulation 2: scores sqrt(2)/4 and sqrt(2)/2, arm 1. Now Q = (0, 1).
    After n simulations with visit counts n0 and n1, arm 0 is selected if
    0.5 sqrt(n + 1) / (1 + n0) > 1 + 0.5 sqrt(n + 1) / (1 + n1).
    With n0 = 1: n = 2 gives 0.433 against 1.433; n = 3: 0.5, 1.333; n = 15: 1.0, 1 + 2 / 15;
    n = 17: 1.0607, 1.1248; n = 19: 1.1180, 1.1177, the first time that arm 0 is selected.
    """
    action = make_action((2,))
    for simulations, expected in ((1, [1, 0]), (2, [1, 1]), (19, [1, 18]), (20, [2, 18])):
        planner = make_mcts(action, num_simulations=simulations, exploration=1.0)
        result = search(planner, bandit, [0])
        assert result.visit_count[0].tolist() == expected
    assert result.action.tolist() == [1]
    assert root_q(result.tree)[0].tolist() == [0.0, 1.0]
    assert result.value[0] == pytest.approx(18 / 21)  # the root's raw value, 0, counts once


def test_puct_follows_a_confident_prior(make_action):
    action = make_action((2,))
    world = make_world(
        action,
        lambda place, taken: (place, torch.zeros(len(place), 1), torch.zeros_like(place)),
        prior=lambda state: torch.tensor([[0.1, 0.9]]).expand(len(state["at"]), -1),
    )
    # All Q are equal. Arm 1 is selected while 0.9 / (1 + n1) > 0.1, so for n1 < 8.
    planner = make_mcts(action, num_simulations=8)
    assert search(planner, world, [0]).visit_count[0].tolist() == [0, 8]


def test_schedule_of_sequential_halving():
    # 4 actions, 16 simulations, 2 phases of 8: four actions twice, then two actions four times.
    expected = [0] * 4 + [1] * 4 + [2] * 2 + [3] * 2 + [4] * 2 + [5] * 2
    assert considered_visits(4, 16).tolist() == expected
    assert considered_visits(1, 3).tolist() == [0, 1, 2]
    assert considered_visits(8, 4).tolist() == [0] * 4  # fewer simulations than actions


def test_sequential_halving_visits_the_better_half_more_often(make_action):
    action = make_action((4,))
    rewards = torch.tensor([0.0, 0.7, 0.2, 1.0])
    world = make_world(
        action,
        lambda place, taken: (place, (taken @ rewards)[:, None], torch.zeros_like(place)),
    )
    result = search(make_mcts(action, select="gumbel", num_simulations=16), world, [0])
    assert result.visit_count[0].tolist() == [2, 6, 2, 6]
    assert result.action.tolist() == [3]
    assert result.policy[0].argmax() == 3
    # pi' = softmax(log 1/4 + (50 + 6) 0.1 q) with q in [0, 1]
    wanted = torch.softmax(5.6 * rewards.double(), 0)
    assert result.policy[0] == pytest.approx(wanted.numpy())


def random_mdp(seed, states=6, actions=3, discount=0.8):
    """Return next states [S, K], rewards [S, K] and the optimal Q [S, K] by value iteration."""
    rng = np.random.default_rng(seed)
    moves = rng.integers(states, size=(states, actions))
    rewards = rng.normal(size=(states, actions))
    q = np.zeros((states, actions))
    for _ in range(200):
        q = rewards + discount * q.max(1)[moves]
    return torch.tensor(moves), torch.tensor(rewards), q


@SELECT
def test_search_converges_to_value_iteration_on_random_mdps(make_action, select):
    action = make_action((3,))
    errors, wrong = {20: [], 300: []}, {20: 0, 300: 0}
    for seed in range(3):
        moves, rewards, optimal = random_mdp(seed, discount=0.6)

        def step(place, taken, moves=moves, rewards=rewards):
            k = taken.argmax(-1)[:, None]
            return moves[place, k], rewards[place, k], torch.ones_like(place)

        for simulations in errors:
            planner = make_mcts(action, num_simulations=simulations, select=select)
            result = search(planner, make_world(action, step, 0.6), list(range(6)))
            best = np.nanmax(root_q(result.tree), axis=1)
            errors[simulations].append(np.abs(best - optimal.max(1)).mean())
            regret = optimal.max(1) - optimal[np.arange(6), result.action]
            wrong[simulations] += int((regret > 1e-9).sum())
    # Measured errors after 20 and 300 simulations: PUCT 0.97 and 0.36, Gumbel 1.06 and 0.19. Of 18
    # recommended actions one is wrong after 20 simulations, none after 300.
    assert np.mean(errors[300]) < 0.5 * np.mean(errors[20])
    assert wrong[300] == 0


@SELECT
def test_trees_of_a_batch_are_independent(make_action, select):
    action = make_action((3,))
    moves, rewards, _ = random_mdp(7)

    def step(place, taken):
        k = taken.argmax(-1)[:, None]
        return moves[place, k], rewards[place, k], torch.ones_like(place)

    planner = make_mcts(action, num_simulations=40, select=select)
    world = make_world(action, step, 0.9)
    together = search(planner, world, [0, 1, 2, 3])
    for b in range(4):
        alone = search(planner, world, [b])
        assert alone.visit_count[0].tolist() == together.visit_count[b].tolist()
        assert alone.value[0] == together.value[b]


@SELECT
def test_search_and_root_noise_are_determined_by_the_seed(make_action, select):
    action = make_action((3,))
    moves, rewards, _ = random_mdp(7)

    def step(place, taken):
        k = taken.argmax(-1)[:, None]
        return moves[place, k], rewards[place, k], torch.ones_like(place)

    planner = make_mcts(action, num_simulations=10, select=select, root_noise=1.0)
    world = make_world(action, step, 0.9)
    first, again, other = (
        search(planner, world, [0, 1, 2, 3, 4, 5], seed, noise=True).visit_count.tolist()
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_a_learned_value_evaluates_new_nodes(make_action):
    """The value of place 1 is 10, that of place 2 is 0."""
    action = make_action((2,))
    world = make_world(
        action,
        lambda place, taken: (
            place + 1 + taken.argmax(-1)[:, None], torch.zeros(len(place), 1),
            torch.ones_like(place),
        ),
        0.9,
        value=lambda state: torch.where(state["at"] == 1, 10.0, 0.0),
    )  # fmt: skip
    result = search(make_mcts(action, num_simulations=2), world, [0])
    assert root_q(result.tree)[0].tolist() == [9.0, 0.0]


def test_continuous_actions_are_sampled_at_each_node(make_action):
    """A reward of -(a - 0.5)^2: the best of 64 sampled actions is near 0.5."""
    action = make_action(1)

    def step(place, taken):
        return place, -(taken - 0.5).square(), torch.zeros_like(place)

    planner = make_mcts(
        action, select="gumbel", num_simulations=400, sampled_actions=64, max_considered_actions=64
    )
    world = make_world(action, step)
    plan = planner.plan(world, {"at": torch.zeros(3, dtype=torch.long)}, {}, torch.Generator())
    assert plan.actions.shape == (3, 1, 1)
    assert (plan.actions - 0.5).abs().max() < 0.1  # mean distance of a random action: 0.6


def test_multi_discrete_actions_are_sampled_and_legal(make_action):
    """Components of 3 and 2 choices; one of the 6 pairs pays 1."""
    action = make_action((3, 2))
    wanted = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])

    def step(place, taken):
        return place, (taken == wanted).all(-1).float()[:, None], torch.zeros_like(place)

    planner = make_mcts(action, num_simulations=60, sampled_actions=40)
    state = {"at": torch.zeros(2, dtype=torch.long)}
    plan = planner.plan(make_world(action, step), state, {}, torch.Generator())
    assert plan.actions[:, 0].tolist() == [wanted.tolist()] * 2


def test_if_all_actions_are_equal_a_random_one_is_recommended(make_action):
    action = make_action((4,))

    def step(place, taken):
        return place, torch.full_like(place, -1.0, dtype=torch.float32), torch.ones_like(place)

    world = dataclasses.replace(
        make_world(action, step),
        rollout_returns=lambda rows, actions, steps: -steps[:, None].float(),
    )
    planner = make_mcts(action, num_simulations=30, leaf_plans=2, horizon=5)
    chosen = {int(search(planner, world, [0], seed=seed).action[0]) for seed in range(30)}
    assert chosen == {0, 1, 2, 3}


def test_principal_variations_show_the_most_visited_action_sequences(make_action):
    """Two actions; action 1 pays 1, and the episode ends with the second step."""
    action = make_action((2,))

    def step(place, taken):
        return place + 1, taken[:, 1:], (place < 1).float()

    result = search(make_mcts(action, num_simulations=30), make_world(action, step), [0])
    actions = NodeActions(result.root_actions[None])
    first, best, other = principal_variations(result.tree, actions).splitlines()
    assert first.startswith("search: 31 visits, value 1.")
    assert best.endswith("1 1 end")
    assert int(best.split()[0]) + int(other.split()[0]) == 30
