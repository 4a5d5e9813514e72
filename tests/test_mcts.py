"""Tree search: visits counted by hand, values judged by value iteration, trees that do not mix."""

import dataclasses

import numpy as np
import pytest
import torch

from mbrl_cli.planners.lines import lines_of_play
from mbrl_cli.planners.mcts import MCTS, root_values
from mbrl_cli.planners.tree import halving
from mbrl_cli.planners.world import World
from mbrl_cli.types import Step

CPU = torch.device("cpu")
SELECT = pytest.mark.parametrize("select", ["puct", "gumbel"])


def make_mcts(action, **changes):
    settings = {
        "num_simulations": 10, "outcomes": 1, "merge": False, "select": "puct", "exploration": 1.25,
        "considered": 16, "root_noise": 0.25, "concentration": 0.3, "sampled_actions": 8,
        "horizon": 50, "rollouts": 0, "noise_beta": 0.0, "show_tree": False, "max_plan_ms": None,
    }  # fmt: skip
    return MCTS(action, CPU, **settings | changes)


def make_world(action, step, discount=1.0, particles=1, value=None, prior=None):
    """Return a world whose rows are whole numbers [M, P] and whose steps are `step`'s.

    `step` maps place [M, P] and action [M, A] to the next place, reward, continues [M, P].
    """

    def branch(state, num_plans):
        return {"at": state["at"].repeat_interleave(num_plans, 0)[:, None].repeat(1, particles)}

    def taken(state, action):
        place, reward, continues = step(state["at"], action)
        return Step({"at": place}, reward.float(), continues.float())

    return World(action, None, branch, taken, discount, None, value, prior)


def search(planner, world, roots, seed=0, noise=False):
    generator = torch.Generator().manual_seed(seed)
    state = {"at": torch.tensor(roots)}
    return planner.search(world, state, planner.initial_memory(len(roots)), generator, noise=noise)


@pytest.fixture
def bandit(make_action):
    """One step of reward 0 or 1, then it is over."""
    action = make_action((2,))

    def step(place, taken):
        return place, taken[:, 1:], torch.zeros_like(place)

    return make_world(action, step)


def test_visits_of_a_bandit_are_those_counted_by_hand(make_action, bandit):
    """PUCT with prior 1/2, exploration 1; first the second arm is not known to be better.

    Simulation 1: nothing is known, ties go to the first arm. Q = (0, ?): range empty, all values 0.
    2: bounds sqrt(2)/2/2 and sqrt(2)/2: second arm; now Q = (0, 1), untried is not left.
    From then on, with n = simulations so far, the first arm is taken when
    0.5 sqrt(n + 1) / (1 + n1) > 1 + 0.5 sqrt(n + 1) / (1 + n2).
    n = 2: 0.433 against 1.433; n = 3: 0.5, 1.333; ...; with n1 = 1 the left side reaches 1 only
    for sqrt(n + 1) >= 4: n = 15 gives 1.0 against 1 + 2 / 15; n = 17: 1.0607 against 1.1248;
    n = 20: 1.1456 against 1.1146 is the first time that it wins; n = 19: 1.1180 against 1.1177
    already does.
    """
    action = make_action((2,))
    for simulations, expected in ((1, [1, 0]), (2, [1, 1]), (19, [1, 18]), (20, [2, 18])):
        planner = make_mcts(action, num_simulations=simulations, exploration=1.0)
        found = search(planner, bandit, [0])
        assert found.visits[0].tolist() == expected
    assert found.chosen.tolist() == [1]
    assert root_values(found.tree)[0].tolist() == [0.0, 1.0]
    assert found.value[0] == pytest.approx(18 / 21)  # the root's own guess, 0, counts once


def test_a_prior_that_is_sure_gets_the_visits(make_action):
    action = make_action((2,))
    world = make_world(
        action,
        lambda place, taken: (place, torch.zeros(len(place), 1), torch.zeros_like(place)),
        prior=lambda state: torch.tensor([[0.1, 0.9]]).expand(len(state["at"]), -1),
    )
    # All values are equal: 0.9 / (1 + n2) against 0.1: the first arm's turn comes after 9 - 1.
    planner = make_mcts(action, num_simulations=8)
    assert search(planner, world, [0]).visits[0].tolist() == [0, 8]


def test_halving_spends_its_budget_as_counted_by_hand():
    # 4 choices, 16 simulations, 2 phases of 8: 4 twice, then 2 four times.
    assert halving(4, 16).tolist() == [0] * 4 + [1] * 4 + [2] * 2 + [3] * 2 + [4] * 2 + [5] * 2
    assert halving(1, 3).tolist() == [0, 1, 2]
    assert halving(8, 4).tolist() == [0] * 4  # fewer simulations than choices


def test_sequential_halving_visits_the_better_half_on(make_action):
    action = make_action((4,))
    rewards = torch.tensor([0.0, 0.7, 0.2, 1.0])
    world = make_world(
        action,
        lambda place, taken: (place, (taken @ rewards)[:, None], torch.zeros_like(place)),
    )
    found = search(make_mcts(action, select="gumbel", num_simulations=16), world, [0])
    assert found.visits[0].tolist() == [2, 6, 2, 6]
    assert found.chosen.tolist() == [3]
    assert found.policy[0].argmax() == 3
    # pi' = softmax(log 1/4 + (50 + 6) 0.1 q) with q in [0, 1]
    wanted = torch.softmax(5.6 * rewards.double(), 0)
    assert found.policy[0] == pytest.approx(wanted.numpy())


def random_mdp(seed, states=6, choices=3, discount=0.8):
    """Return moves [S, K], rewards [S, K] and the optimal Q [S, K] by value iteration."""
    rng = np.random.default_rng(seed)
    moves = rng.integers(states, size=(states, choices))
    rewards = rng.normal(size=(states, choices))
    q = np.zeros((states, choices))
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
            found = search(planner, make_world(action, step, 0.6), list(range(6)))
            best = np.nanmax(root_values(found.tree), axis=1)
            errors[simulations].append(np.abs(best - optimal.max(1)).mean())
            regret = optimal.max(1) - optimal[np.arange(6), found.chosen]
            wrong[simulations] += int((regret > 1e-9).sum())
    # Off by this much after 20 and 300 simulations: PUCT 0.97 and 0.36, Gumbel 1.06 and 0.19; of
    # 18 choices one is wrong after 20 simulations and none after 300.
    assert np.mean(errors[300]) < 0.5 * np.mean(errors[20])
    assert wrong[300] == 0


def test_what_is_chosen_after_luck_answers_it(make_action):
    """Luck leads to place 1 or 2; there the choice of that number pays 1, the other nothing."""
    action = make_action((2,))

    def step(place, taken):
        k = taken.argmax(-1)[:, None]
        return place + torch.tensor([[1, 2]]), (place == k + 1), (place == 0)

    world = make_world(action, step, particles=2)
    values = {}
    for outcomes, merge in ((1, False), (2, False), (2, True), (3, True)):
        planner = make_mcts(action, num_simulations=200, outcomes=outcomes, merge=merge, horizon=2)
        values[outcomes, merge] = np.nanmax(root_values(search(planner, world, [0]).tree))
    # One plan for both is right in half of the cases, wherever it goes.
    assert values[1, False] == pytest.approx(0.5, abs=0.01)
    assert 0.9 < values[2, False] < 1.0  # what was tried in vain counts; measured 0.91
    assert values[2, True] == values[3, True] == 1.0  # no more outcomes than particles


def random_chances(seed, states=5, choices=2):
    """Return moves [S, K, 2] of two equally likely outcomes, rewards [S, K, 2]."""
    rng = np.random.default_rng(seed)
    moves = torch.tensor(rng.integers(states, size=(states, choices, 2)))
    return moves, torch.tensor(rng.normal(size=(states, choices, 2)))


@pytest.mark.parametrize("seed", range(3))
def test_merged_search_is_value_iteration_once_the_graph_is_complete(make_action, seed):
    """5 states, 4 steps: at most 1 + 3 * 5 nodes above the horizon with 2 choices each."""
    action = make_action((2,))
    moves, rewards = random_chances(seed)
    optimal = np.zeros((5, 2))
    for _ in range(4):
        after = rewards.numpy() + 0.9 * optimal.max(1)[moves.numpy()]  # [S, K, 2]
        optimal = after.mean(-1)

    def step(place, taken):
        k, luck = taken.argmax(-1)[:, None], torch.arange(2)
        return moves[place, k, luck], rewards[place, k, luck], torch.ones_like(place)

    world = make_world(action, step, 0.9, particles=2)
    planner = make_mcts(action, num_simulations=400, outcomes=2, merge=True, horizon=4)
    found = search(planner, world, list(range(5)))
    assert root_values(found.tree) == pytest.approx(optimal, abs=1e-5)
    assert found.chosen.tolist() == optimal.argmax(1).tolist()
    assert ((found.tree.tried > 0).any(-1).sum(1) <= 16).all()


@SELECT
def test_outcomes_of_their_own_converge_to_value_iteration(make_action, select):
    action = make_action((2,))
    moves, rewards = random_chances(0)
    optimal = np.zeros((5, 2))
    for _ in range(3):
        optimal = (rewards.numpy() + 0.9 * optimal.max(1)[moves.numpy()]).mean(-1)

    def step(place, taken):
        k, luck = taken.argmax(-1)[:, None], torch.arange(2)
        return moves[place, k, luck], rewards[place, k, luck], torch.ones_like(place)

    world = make_world(action, step, 0.9, particles=2)
    errors = []
    for simulations in (30, 1000):
        planner = make_mcts(
            action, num_simulations=simulations, outcomes=2, horizon=3, select=select
        )
        found = search(planner, world, list(range(5)))
        best = np.nanmax(root_values(found.tree), axis=1)
        errors.append(np.abs(best - optimal.max(1)).mean())
        node, tree = np.arange(5), found.tree
        # What a node is worth stays the mean of what its choices are worth and its first guess, 0.
        kept = (tree.tried * tree.q).sum(-1) / tree.visits
        assert kept[node, 0] == pytest.approx(tree.value[node, 0])
    # Off by 0.32 and 0.11 (PUCT), 0.30 and 0.02 (Gumbel).
    assert errors[1] < 0.5 * errors[0]
    assert found.chosen.tolist() == optimal.argmax(1).tolist()


@SELECT
def test_trees_of_a_batch_do_not_know_of_each_other(make_action, select):
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
        assert alone.visits[0].tolist() == together.visits[b].tolist()
        assert alone.value[0] == together.value[b]


@SELECT
def test_a_seed_decides_the_search_and_its_noise(make_action, select):
    action = make_action((3,))
    moves, rewards, _ = random_mdp(7)

    def step(place, taken):
        k = taken.argmax(-1)[:, None]
        return moves[place, k], rewards[place, k], torch.ones_like(place)

    planner = make_mcts(action, num_simulations=10, select=select, root_noise=1.0)
    world = make_world(action, step, 0.9)
    first, again, other = (
        search(planner, world, [0, 1, 2, 3, 4, 5], seed, noise=True).visits.tolist()
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_nothing_is_imagined_past_an_end(make_action):
    """The task ends at place 1; its many rewards afterwards count for nothing."""
    action = make_action((2,))
    asked = []

    def step(place, taken):
        asked.append(place.flatten().tolist())
        return place + 1, 1.0 + 100.0 * place, torch.zeros_like(place)

    found = search(make_mcts(action, num_simulations=30), make_world(action, step), [0])
    assert asked == [[0], [0]]  # each choice once; then every walk ends where the task does
    assert found.visits[0].sum() == 30
    assert root_values(found.tree)[0].tolist() == [1.0, 1.0]


def test_a_chance_to_go_on_weighs_what_comes_after(make_action):
    """One choice; the step pays 1 and goes on with chance 1/2, twice: 1 + 1/2 (1 + 0)."""
    action = make_action((1,))
    world = make_world(
        action, lambda place, taken: (place, torch.ones_like(place), 0.5 * torch.ones_like(place))
    )
    found = search(make_mcts(action, num_simulations=300, horizon=2), world, [0])
    # The node at depth 1 has its own guess, 0, among 300 visits.
    assert root_values(found.tree)[0, 0] == pytest.approx(1.0 + 0.5 * 299 / 300)


def test_particles_that_are_gone_pay_and_weigh_nothing(make_action):
    """Of two particles one ends at the first step, and what it would get afterwards is NaN."""
    action = make_action((1,))

    def step(place, taken):
        first = torch.tensor([[True, False]]).expand_as(place)
        after = torch.where(first & (place > 0), float("nan"), 4.0)
        reward = torch.where(place > 0, after, 1.0)
        return place + 1, reward, torch.where(first, 0.0, 1.0)

    world = make_world(action, step, particles=2)
    found = search(make_mcts(action, num_simulations=2, horizon=2), world, [0])
    assert found.nonfinite == 0
    # 1 for both, then half of them get 4; the child's own guess, 0, is one of its two visits.
    assert root_values(found.tree)[0, 0] == pytest.approx(1.0 + 0.5 * (0.0 + 4.0) / 2)


def test_a_diverged_step_never_wins(make_action):
    action = make_action((3,))

    def step(place, taken):
        reward = torch.where(taken[:, 2:] > 0, float("nan"), taken[:, :1] - 5.0)
        return place, reward, torch.zeros_like(place)

    found = search(make_mcts(action, num_simulations=30), make_world(action, step), [0])
    assert found.nonfinite == 1
    assert found.chosen.tolist() == [0]


def test_a_value_is_used_where_one_is_known(make_action):
    """Place 1 is worth 10, place 2 nothing: known without looking further."""
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
    found = search(make_mcts(action, num_simulations=2), world, [0])
    assert root_values(found.tree)[0].tolist() == [9.0, 0.0]


def test_continuous_actions_are_sampled_at_each_node(make_action):
    """A reward of -(a - 0.5)^2: the best of 64 sampled actions is near 0.5."""
    action = make_action(1)

    def step(place, taken):
        return place, -(taken - 0.5).square(), torch.zeros_like(place)

    planner = make_mcts(
        action, select="gumbel", num_simulations=400, sampled_actions=64, considered=64
    )
    world = make_world(action, step)
    plan = planner.plan(world, {"at": torch.zeros(3, dtype=torch.long)}, {}, torch.Generator())
    assert plan.actions.shape == (3, 1, 1)
    assert (plan.actions - 0.5).abs().max() < 0.1  # a random one: 0.6


def test_several_choices_at_once_are_sampled_and_legal(make_action):
    """Blocks of 3 and 2 choices; a reward of 1 for the right pair, one of 6."""
    action = make_action((3, 2))
    wanted = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])

    def step(place, taken):
        return place, (taken == wanted).all(-1).float()[:, None], torch.zeros_like(place)

    planner = make_mcts(action, num_simulations=60, sampled_actions=40)
    state = {"at": torch.zeros(2, dtype=torch.long)}
    plan = planner.plan(make_world(action, step), state, {}, torch.Generator())
    assert plan.actions[:, 0].tolist() == [wanted.tolist()] * 2


def test_where_all_choices_are_worth_the_same_search_goes_new_ways(make_action):
    action = make_action((4,))

    def step(place, taken):
        return place, torch.full_like(place, -1.0, dtype=torch.float32), torch.ones_like(place)

    world = dataclasses.replace(
        make_world(action, step), rollout=lambda rows, actions, steps: -steps[:, None].float()
    )
    planner = make_mcts(action, num_simulations=30, rollouts=2, horizon=5)
    chosen = {int(search(planner, world, [0], seed=seed).chosen[0]) for seed in range(30)}
    assert chosen == {0, 1, 2, 3}  # a step costs the same wherever it leads


def test_the_most_visited_lines_of_play_can_be_read(make_action):
    """Two choices; choice 1 pays 1 and ends the task at the second step."""
    action = make_action((2,))

    def step(place, taken):
        return place + 1, taken[:, 1:], (place < 1).float()

    found = search(make_mcts(action, num_simulations=30), make_world(action, step), [0])
    first, best, other = lines_of_play(found.tree, found.choices[None], listed=True).splitlines()
    assert first.startswith("search: 31 visits, value 1.")
    assert best.endswith("1 1 end")
    assert int(best.split()[0]) + int(other.split()[0]) == 30
