"""Derive the policy and the recommended action of the root from a finished search."""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.simulation import root_improved_logits
from mbrl_cli.planners.tree_search.tree import Floats, Ints, Tree, root_q


def recommend_by_visits(tree: Tree) -> tuple[Floats, Ints]:
    """Return the visit distribution [B, K] and the most visited action [B], as in AlphaZero.

    Among equally visited actions the one with the largest Q is recommended. In a graph the value of
    a node is its largest Q, so Q comes first and the visits only decide between equal Q.
    """
    visit_count = tree.visit_count[:, 0]  # [B, K]
    total = visit_count.sum(1, keepdims=True)
    policy = np.where(total > 0, visit_count / np.maximum(total, 1), tree.prior[:, 0])
    largest_q = np.maximum(np.abs(tree.max_q), np.abs(tree.min_q))
    largest_q[~np.isfinite(largest_q)] = 0.0  # no action has been visited
    min_range = np.maximum(1e-12 * largest_q, np.finfo(np.float64).tiny)
    q_range = np.maximum(tree.max_q - tree.min_q, min_range)[:, None]
    fraction = (root_q(tree) - tree.min_q[:, None]) / q_range  # [B, K]
    visit_weight, unvisited = (1e-6, -1.0) if tree.transpositions else (1.0, policy)
    score = np.where(visit_count > 0, visit_count * visit_weight + 0.5 * fraction, unvisited)
    return policy, score.argmax(1)


def recommend_by_gumbel(tree: Tree, gumbel: Floats) -> tuple[Floats, Ints]:
    """Return the improved policy [B, K] and the most visited action [B] (Danihelka et al. 2022).

    Among equally visited actions the one with the largest gumbel [B, K] + logit is recommended.
    """
    visit_count = tree.visit_count[:, 0]  # [B, K]
    logits = np.zeros(visit_count.shape)
    root_improved_logits(tree, logits)
    most_visited = visit_count == visit_count.max(1, keepdims=True)
    score = np.where(most_visited, logits + gumbel, -np.inf)
    policy = np.exp(logits - logits.max(1, keepdims=True))
    policy /= policy.sum(1, keepdims=True)
    return policy, score.argmax(1)
