"""A search tree to look at: its most visited lines of play."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mbrl_cli.planners.tree import Tree

SHOWN = 5  # lines at most
FEWEST = 2  # visits of a node for a line to go on


def lines_of_play(tree: Tree, choices: Tensor, listed: bool, b: int = 0) -> str:
    """Return the lines that tree b looked at most, one for each first choice, as text.

    Args:
        tree: all trees.
        choices: the actions of the nodes' choices [S or 1, B, K, A].
        listed: whether a choice is shown as its number, or as its action.
        b: which tree.
    """

    def name(node: int, k: int) -> str:
        if listed:
            return str(k)
        action = choices[node if len(choices) > 1 else 0, b, k]
        return "(" + " ".join(f"{x:.2f}" for x in action.tolist()) + ")"

    def visits(node: int) -> np.ndarray:
        child = tree.child[b, node]
        return np.where(child < 0, 0, tree.visits[b, child])

    value, count = tree.value[b, 0], int(tree.visits[b, 0])
    text = [f"search: {count} visits, value {value:.2f}; the most visited lines:"]
    for first in np.argsort(-visits(0), kind="stable")[:SHOWN].tolist():
        node = int(tree.child[b, 0, first])
        if node < 0:
            continue
        q = tree.reward[b, node] + tree.weight[b, node] * tree.value[b, node]
        line, count = [name(0, first)], int(tree.visits[b, node])
        while visits(node).max() >= FEWEST:
            k = int(visits(node).argmax())
            line.append(name(node, k))
            node = int(tree.child[b, node, k])
        if tree.ended[b, node]:
            line.append("end")
        text.append(f"{count:6d} visits  value {q:9.2f}  {' '.join(line)}")
    return "\n".join(text)
