"""The search trees of B environments as one struct of arrays.

A simulation expands at most one action in each tree. The action leads to C chance outcomes, each
with a node: simulation s creates the nodes 1 + s C to (s + 1) C. With C = 1 all particles of the
model share one node, so later actions do not depend on the outcome (open-loop search); with C > 1
they do. With transpositions an outcome may lead to an earlier node in the same state at the same
depth; the tree is then a directed acyclic graph, and the outcome's own node stays unused.

Source: values in a graph, Czech et al. 2021 ("Improving AlphaZero using Monte-Carlo graph search").
Notation: N(s, a) -> visit_count, Q(s, a) -> q, P(s, a) -> prior.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Tree(NamedTuple):
    """State of B search trees.

    Axes: B trees, S nodes (1 + C * simulations; node 0 is the root), K actions of a node, C
    outcomes of an action. Actions are indices into the node's list of K actions.
    """

    num_outcomes: int  # C
    transpositions: bool  # equal states at the same depth share a node
    # Actions of a node.
    child: Ints  # [B, S, K] first of the action's C outcomes; -1: not expanded
    visit_count: Ints  # [B, S, K] simulations that took the action
    q: Floats  # [B, S, K] mean over outcomes of reward + discount * value
    prior: Floats  # [B, S, K] probability of the action before the search
    # Outcomes: the transition into the node of the same number.
    next_node: Ints  # [B, S] node that it leads to: its own or, by transposition, an earlier one
    parent: Ints  # [B, S] -1 at the root
    action: Ints  # [B, S] action of the parent that led here; -1 at the root
    probability: Floats  # [B, S] of the outcome, given the action
    reward: Floats  # [B, S]
    discount: Floats  # [B, S] discount factor * probability that the episode continues
    # Nodes.
    depth: Ints  # [B, S] steps from the root
    terminal: NDArray[np.bool_]  # [B, S] the episode is over, or the horizon is reached
    node_visits: Ints  # [B, S] 1 for the raw value + simulations that selected an action here
    raw_value: Floats  # [B, S] value estimate from before the search
    value: Floats  # [B, S] mean of the raw value and of Q, weighted by visits; see `backup`
    # Trees.
    min_q: Floats  # [B] smallest Q of the tree so far; inf: none yet
    max_q: Floats  # [B] largest Q of the tree so far; -inf: none yet


def new_tree(
    prior: Floats, value: Floats, num_outcomes: int, transpositions: bool, num_simulations: int
) -> Tree:
    """Return trees that consist of a root with its prior [B, K] and raw value [B]."""
    num_trees, num_actions = prior.shape
    size = (num_trees, 1 + num_outcomes * num_simulations)  # [B, S]
    tree = Tree(
        num_outcomes=num_outcomes,
        transpositions=transpositions,
        child=np.full((*size, num_actions), -1, np.int64),
        visit_count=np.zeros((*size, num_actions), np.int64),
        q=np.zeros((*size, num_actions)),
        prior=np.zeros((*size, num_actions)),
        next_node=np.zeros(size, np.int64),
        parent=np.full(size, -1, np.int64),
        action=np.full(size, -1, np.int64),
        probability=np.zeros(size),
        reward=np.zeros(size),
        discount=np.zeros(size),
        depth=np.zeros(size, np.int64),
        terminal=np.zeros(size, np.bool_),
        node_visits=np.ones(size, np.int64),
        raw_value=np.zeros(size),
        value=np.zeros(size),
        min_q=np.full(num_trees, np.inf),
        max_q=np.full(num_trees, -np.inf),
    )
    tree.prior[:, 0] = prior
    tree.raw_value[:, 0] = tree.value[:, 0] = value
    return tree


def root_q(tree: Tree) -> Floats:
    """Return Q [B, K] of the root's actions; NaN where an action was not visited."""
    return np.where(tree.visit_count[:, 0] == 0, np.nan, tree.q[:, 0])
