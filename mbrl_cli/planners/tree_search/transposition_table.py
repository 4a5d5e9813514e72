"""Find nodes of a tree that are in the same state at the same depth."""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.outcomes import Outcomes
from mbrl_cli.planners.tree_search.simulation import MIN_CONTINUES
from mbrl_cli.planners.tree_search.tree import Ints


class TranspositionTable:
    """Map the depth and state of every node to the first node with both, for each of B trees.

    Equal depth is required because the horizon counts from the root, and because it excludes
    cycles.
    """

    def __init__(self, num_trees: int) -> None:
        self._first_node: list[dict[tuple[int | bytes, ...], int]] = [{} for _ in range(num_trees)]

    def find(
        self,
        states: list[np.ndarray],
        depth: Ints,
        first_node: int,
        leaf_action: Ints,
        outcomes: Outcomes,
    ) -> None:
        """Write the earlier nodes in the same states into `outcomes.transposition`.

        The probabilities of particles to be alive are not compared: they are part of the outcome's
        `continues`.

        Args:
            states: tensors of the new states, each [B C, ...].
            depth: depth of the new nodes [B].
            first_node: number of the first new node.
            leaf_action: expanded actions [B]; -1: none.
            outcomes: predictions for the new nodes; terminal and diverged ones are skipped.
        """
        outcomes.transposition[:] = -1
        num_outcomes = outcomes.transposition.shape[1]
        valid = (outcomes.continues >= MIN_CONTINUES) & np.isfinite(outcomes.reward)
        for b, c in np.argwhere(valid).tolist():
            if leaf_action[b] >= 0:
                row = b * num_outcomes + c
                key = (int(depth[b]), *(part[row].tobytes() for part in states))
                node = self._first_node[b].setdefault(key, first_node + c)
                outcomes.transposition[b, c] = node
