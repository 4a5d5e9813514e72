"""The actions that can be taken at the nodes of the trees."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mbrl_cli.planners.tree_search.tree import Ints


class NodeActions:
    """K encoded actions for every node: the same discrete ones everywhere, or sampled for each.

    Axes: B trees, S nodes, K actions of a node, A action dim.

    Args:
        table: encoded actions [S, B, K, A], or [1, B, K, A] if all nodes have the same actions.
    """

    def __init__(self, table: Tensor) -> None:
        self.table = table
        self.same_everywhere = len(table) == 1
        self._of_every_node = table[0, 0]  # [K, A] if all nodes have the same actions
        self._trees = np.arange(table.shape[1])

    @property
    def root(self) -> Tensor:
        """The actions [B, K, A] of the roots."""
        return self.table[0]

    def at(self, b: int, node: int, k: int) -> Tensor:
        """Return action k [A] of a node of tree b."""
        return self.table[0 if self.same_everywhere else node, b, k]

    def select(self, node: Ints, k: Tensor) -> Tensor:
        """Return one action for each tree [B, A]: number k [B] of `node` [B]."""
        if self.same_everywhere:
            return self._of_every_node.index_select(0, k)
        return self.table[node, self._trees, k]
