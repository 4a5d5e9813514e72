"""The path of one simulation through each of B trees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mbrl_cli.planners.tree_search.tree import Floats, Ints


class SimulationPath(NamedTuple):
    """Nodes and actions from the root to the leaf; `simulate` overwrites it in every simulation.

    Axes: B trees, L = 1 + simulations, the longest path, K actions of a node.
    """

    node: Ints  # [B, L] nodes at which an action was selected, the root first
    action: Ints  # [B, L] the action selected at each of them
    length: Ints  # [B] number of valid entries in `node` and `action`
    leaf: Ints  # [B] node at which the path ends; -1: there is no path yet
    leaf_action: Ints  # [B] action to expand at the leaf; -1: none, the leaf is terminal
    leaf_row: Ints  # [B] row of the leaf's state in `NodeStates`
    new_depth: Ints  # [B] depth of the nodes that `leaf_action` leads to
    valid_action: Ints  # [B] `leaf_action`, or 0 where there is none: always a valid index
    logits: Floats  # [K] buffer of `simulate`


def new_path(num_trees: int, num_simulations: int, num_actions: int) -> SimulationPath:
    """Return arrays for the paths of one simulation in each tree."""
    steps = (num_trees, 1 + num_simulations)  # [B, L]
    return SimulationPath(
        node=np.zeros(steps, np.int64),
        action=np.zeros(steps, np.int64),
        length=np.zeros(num_trees, np.int64),
        leaf=np.full(num_trees, -1, np.int64),
        leaf_action=np.full(num_trees, -1, np.int64),
        leaf_row=np.zeros(num_trees, np.int64),
        new_depth=np.zeros(num_trees, np.int64),
        valid_action=np.zeros(num_trees, np.int64),
        logits=np.zeros(num_actions),
    )
