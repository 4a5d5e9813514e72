"""Print a search tree as its most visited action sequences."""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.node_actions import NodeActions
from mbrl_cli.planners.tree_search.tree import Tree

MAX_LINES = 5
MIN_VISITS = 2  # of the next action, for a line to continue


def principal_variations(tree: Tree, actions: NodeActions, b: int = 0) -> str:
    """Return the most visited action sequences of tree b as text, one for each first action.

    If an action has several outcomes, the sequence continues with the most probable one. Discrete
    actions are printed as their number, sampled ones as the encoded action.
    """

    def name(node: int, k: int) -> str:
        if actions.same_everywhere:
            return str(k)
        return "(" + " ".join(f"{x:.2f}" for x in actions.at(b, node, k).tolist()) + ")"

    def next_node(node: int, k: int) -> int:
        first = int(tree.child[b, node, k])
        return first + int(tree.probability[b, first : first + tree.num_outcomes].argmax())

    value, visits = tree.value[b, 0], int(tree.node_visits[b, 0])
    text = [f"search: {visits} visits, value {value:.2f}; the most visited action sequences:"]
    visit_count = tree.visit_count[b]  # [S, K]
    for first in np.argsort(-visit_count[0], kind="stable")[:MAX_LINES].tolist():
        if not visit_count[0, first]:
            continue
        line, node = [name(0, first)], next_node(0, first)
        while visit_count[node].max() >= MIN_VISITS:
            k = int(visit_count[node].argmax())
            line.append(name(node, k))
            node = next_node(node, k)
        if tree.terminal[b, node]:
            line.append("end")
        count, q = int(visit_count[0, first]), tree.q[b, 0, first]
        text.append(f"{count:6d} visits  value {q:9.2f}  {' '.join(line)}")
    return "\n".join(text)
