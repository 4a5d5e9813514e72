"""The compiled functions of the tree search: equal to plain Python, cached where possible."""

import numpy as np
import pytest
import torch
from search_worlds import SELECT, make_mcts, make_world, random_stochastic_mdp, search

from mbrl_cli.planners import mcts
from mbrl_cli.planners.tree_search import recommendation, simulation
from mbrl_cli.planners.tree_search.numba_jit import numba_jit


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
