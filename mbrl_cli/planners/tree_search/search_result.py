"""The result of a tree search."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from mbrl_cli.planners.tree_search.tree import Floats, Ints, Tree
from mbrl_cli.types import State


class SearchResult(NamedTuple):
    """Axes: B trees, K actions of the root, A action dim."""

    tree: Tree
    root_actions: Tensor  # [B, K, A] encoded
    action: Ints  # [B] index of the recommended root action
    policy: Floats  # [B, K] improved policy: probabilities of the root's actions after the search
    visit_count: Ints  # [B, K] of the root's actions
    value: Floats  # [B] value of the root
    nonfinite: int  # number of imagined steps whose predictions were not finite
    memory: State  # for the next decision
