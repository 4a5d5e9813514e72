"""Tree search: visit counts by hand, convergence to value iteration, independent trees."""

import dataclasses

import numpy as np
import pytest
import torch

from mbrl_cli.planners import mcts
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.tree_search import recommendation, simulation
from mbrl_cli.planners.tree_search.node_actions import NodeActions
from mbrl_cli.planners.tree_search.numba_jit import numba_jit
from mbrl_cli.planners.tree_search.principal_variations import principal_variations
from mbrl_cli.planners.tree_search.sequential_halving import considered_visits
from mbrl_cli.planners.tree_search.tree import root_q
from mbrl_cli.planners.world import World
from mbrl_cli.types import Step

CPU = torch.device("cpu")
SELECT = pytest.mark.parametrize("select", ["puct", "gumbel"])


def make_mcts(action, **changes):
    settings = {"num_simulations": 10, "horizon": 50, "leaf_plans": 0, "noise_beta": 0.0}
    return MCTS(action, CPU, **settings | changes)


def make_world(action, step, discount=1.0, particles=1, value=None, prior=None):
    """Return a world whose states are integers, called places, [M, P].

    `step` maps place [M, P] and action [M, A] to the next place, reward and continues [M, P].
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


def random_stochastic_mdp(seed, states=5, actions=2):
    """Return next states and rewards [S, K, 2] of two equally likely outcomes."""
    rng = np.random.default_rng(seed)
    moves = torch.tensor(rng.integers(states, size=(states, actions, 2)))
    return moves, torch.tensor(rng.normal(size=(states, actions, 2)))


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


@SELECT
@pytest.mark.parametrize("transpositions", [False, True])
def test_compiled_and_plain_functions_build_the_same_tree(
    make_action, select, transpositions, monkeypatch
):
    pytest.importorskip("numba")
    action = make_action((2,))
    moves, rewards = random_stochastic_mdp(0)

    def step(place, taken):
        k, outcome = taken.argmax(-1)[:, None], torch.arange(2)
        return moves[place, k, outcome], rewards[place, k, outcome], torch.ones_like(place)

    world = make_world(action, step, 0.9, particles=2)
    planner = make_mcts(
        action, num_simulations=60, outcomes=2, transpositions=transpositions, select=select
    )
    compiled = search(planner, world, [0, 1, 2], noise=True)
    for module in (mcts, recommendation, simulation):
        for name, value in list(vars(module).items()):
            if hasattr(value, "py_func"):
                monkeypatch.setattr(module, name, value.py_func)
    plain = search(planner, world, [0, 1, 2], noise=True)
    for name, values in compiled.tree._asdict().items():
        assert np.array_equal(values, getattr(plain.tree, name)), name
    assert compiled.action.tolist() == plain.action.tolist()


def test_a_function_without_a_writable_cache_folder_is_compiled_all_the_same(monkeypatch):
    pytest.importorskip("numba")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "/proc/nothing")
    names = {}
    source = "def double(x):\n    return 2 * x\n"
    exec(compile(source, "/proc/nothing/double.py", "exec"), names)  # beside no writable folder
    compiled = numba_jit(names["double"])
    assert hasattr(compiled, "py_func")
    assert compiled(21) == 42
