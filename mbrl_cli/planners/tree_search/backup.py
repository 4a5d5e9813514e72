"""Back up the result of a simulation along its path."""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.numba_jit import numba_jit
from mbrl_cli.planners.tree_search.simulation_path import SimulationPath
from mbrl_cli.planners.tree_search.tree import Tree


@numba_jit
def backup(tree: Tree, path: SimulationPath) -> None:
    """Update Q, values and visit counts on the paths of all trees, from the leaf to the root."""
    for b in range(len(path.leaf)):
        backup_tree(tree, path, b)


@numba_jit
def backup_tree(tree: Tree, path: SimulationPath, b: int) -> None:
    """Update the nodes on the path of tree b.

    The value of a node is (raw value + sum of N Q) / node visits. With one outcome this is the mean
    of the returns of all simulations through the node; with several, Q is the expectation over
    outcomes, so it does not depend on which of them were visited. In a graph, Q also changes by
    simulations on other paths, and a mean over visits would weigh outdated values; there the value
    of a node is its largest Q.
    """
    leaf = path.leaf[b]
    increase = 0.0  # of node visits * value at the current node
    if path.leaf_action[b] < 0:  # a terminal leaf: the value of what follows is 0
        tree.node_visits[b, leaf] += 1
        tree.value[b, leaf] += (increase - tree.value[b, leaf]) / tree.node_visits[b, leaf]
    for level in range(path.length[b] - 1, -1, -1):
        node, k = path.node[b, level], path.action[b, level]
        old_q = tree.q[b, node, k]
        update_q(tree, b, node, k)
        tree.visit_count[b, node, k] += 1
        tree.node_visits[b, node] += 1
        if tree.transpositions:
            tree.value[b, node] = largest_q(tree, b, node)
            continue
        if tree.num_outcomes == 1 and tree.visit_count[b, node, k] > 1:
            # Equal to the general case below, without its rounding errors.
            outcome = tree.child[b, node, k]
            increase = tree.reward[b, outcome] + tree.discount[b, outcome] * increase
        else:
            q = tree.q[b, node, k]
            increase = q + (tree.visit_count[b, node, k] - 1) * (q - old_q)
        tree.value[b, node] += (increase - tree.value[b, node]) / tree.node_visits[b, node]


@numba_jit
def update_q(tree: Tree, b: int, node: int, k: int) -> None:
    """Compute Q of an action from its outcomes, and update the range of Q."""
    first, q = tree.child[b, node, k], 0.0
    for outcome in range(first, first + tree.num_outcomes):
        future = tree.discount[b, outcome] * tree.value[b, tree.next_node[b, outcome]]
        q += tree.probability[b, outcome] * (tree.reward[b, outcome] + future)
    tree.q[b, node, k] = q
    tree.min_q[b] = min(tree.min_q[b], q)
    tree.max_q[b] = max(tree.max_q[b], q)


@numba_jit
def largest_q(tree: Tree, b: int, node: int) -> float:
    """Update Q of all visited actions; return the largest. An unvisited one has the raw value."""
    largest = -np.inf
    for k in range(tree.child.shape[2]):
        if tree.visit_count[b, node, k] > 0:
            update_q(tree, b, node, k)
            largest = max(largest, tree.q[b, node, k])
        else:
            largest = max(largest, tree.raw_value[b, node])
    return largest
