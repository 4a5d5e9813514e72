"""Add the outcomes of the expanded actions to the trees as new nodes."""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.numba_jit import numba_jit
from mbrl_cli.planners.tree_search.outcomes import Outcomes
from mbrl_cli.planners.tree_search.simulation_path import SimulationPath
from mbrl_cli.planners.tree_search.tree import Tree

MIN_CONTINUES = 1e-2  # a node that is reached with a smaller probability is terminal


@numba_jit
def expand(
    tree: Tree,
    path: SimulationPath,
    outcomes: Outcomes,
    first_node: int,
    discount: float,
    horizon: int,
) -> int:
    """Add the nodes `first_node` to `first_node` + C - 1 to every tree with an action to expand.

    Args:
        tree: all trees.
        path: where the simulation has arrived in each tree.
        outcomes: the model's predictions for the expanded actions.
        first_node: number of the first new node.
        discount: per step.
        horizon: depth from which on nodes are terminal.

    Returns:
        Number of trees in which a prediction is not finite. Such an outcome is terminal, and its
        reward is the smallest Q of the tree.
    """
    num_nonfinite = 0
    for b in range(len(path.leaf)):
        if path.leaf_action[b] >= 0:
            num_nonfinite += expand_tree(tree, path, outcomes, b, first_node, discount, horizon)
    return num_nonfinite


@numba_jit
def expand_tree(
    tree: Tree,
    path: SimulationPath,
    outcomes: Outcomes,
    b: int,
    first_node: int,
    discount: float,
    horizon: int,
) -> int:
    """Add the new nodes to tree b; return 1 if a prediction is not finite. See `expand`."""
    parent, k, nonfinite = path.leaf[b], path.leaf_action[b], 0
    tree.child[b, parent, k] = first_node
    for c in range(tree.num_outcomes):
        node, probability = first_node + c, outcomes.probability[b, c]
        reward, continues = outcomes.reward[b, c], outcomes.continues[b, c]
        value = outcomes.value[b, c]
        terminal = continues < MIN_CONTINUES
        if terminal:
            value = 0.0
        if probability == 0.0:  # no particle is left in this outcome
            reward, continues, value, terminal = 0.0, 0.0, 0.0, True
        elif not np.isfinite(reward + continues + value + outcomes.prior[b, c].sum()):
            nonfinite = 1
            reward = tree.min_q[b] if tree.min_q[b] < np.inf else 0.0
            continues, value, terminal = 0.0, 0.0, True
        earlier = outcomes.transposition[b, c]
        tree.next_node[b, node] = earlier if earlier >= 0 else node
        tree.parent[b, node], tree.action[b, node] = parent, k
        tree.probability[b, node] = probability
        tree.reward[b, node], tree.discount[b, node] = reward, discount * continues
        tree.depth[b, node] = tree.depth[b, parent] + 1
        tree.terminal[b, node] = terminal or tree.depth[b, node] >= horizon
        tree.raw_value[b, node] = tree.value[b, node] = value
        tree.prior[b, node] = outcomes.prior[b, c]
    return nonfinite
