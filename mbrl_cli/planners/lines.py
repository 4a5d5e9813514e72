"""A search tree to look at: its most visited lines of play."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mbrl_cli.planners.tree import Tree

SHOWN = 5  # lines at most
FEWEST = 2  # visits of a node for a line to go on


def lines_of_play(tree: Tree, choices: Tensor, listed: bool, b: int = 0) -> str:
    """Return the lines that tree b looked at most, one for each first choice, as text.

    Where a choice has several outcomes a line goes on with the likeliest.

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

    def outcome(node: int, k: int) -> int:
        first = int(tree.child[b, node, k])
        return first + int(tree.share[b, first : first + tree.outcomes].argmax())

    value, count = tree.value[b, 0], int(tree.visits[b, 0])
    text = [f"search: {count} visits, value {value:.2f}; the most visited lines:"]
    tried = tree.tried[b]  # [S, K]
    for first in np.argsort(-tried[0], kind="stable")[:SHOWN].tolist():
        if not tried[0, first]:
            continue
        line, node = [name(0, first)], outcome(0, first)
        while tried[node].max() >= FEWEST:
            k = int(tried[node].argmax())
            line.append(name(node, k))
            node = outcome(node, k)
        if tree.ended[b, node]:
            line.append("end")
        count, q = int(tried[0, first]), tree.q[b, 0, first]
        text.append(f"{count:6d} visits  value {q:9.2f}  {' '.join(line)}")
    return "\n".join(text)
