"""Select the actions and outcomes of a simulation on its way from the root to a leaf.

Sources: PUCT and the min-max normalisation of Q, Schrittwieser et al. 2020 (MuZero, appendix B);
Gumbel MuZero's selection, Danihelka et al. 2022 ("Policy improvement by planning with Gumbel",
sections 3 to 5).
Notation: Q(s, a) -> q, N(s, a) -> visit_count, P(s, a) -> prior, pi' -> improved policy,
c_visit, c_scale -> C_VISIT, C_SCALE.
"""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.numba_jit import numba_jit
from mbrl_cli.planners.tree_search.simulation_path import SimulationPath
from mbrl_cli.planners.tree_search.tree import Floats, Tree

# sigma(q) = (C_VISIT + largest visit count) * C_SCALE * q (equation 8).
C_VISIT = 50.0
C_SCALE = 0.1
Q_TOLERANCE = 1e-5  # relative difference below which Q values count as equal: rounding errors


@numba_jit
def normalised_q(tree: Tree, b: int, q: float) -> float:
    """Return q as a fraction of the range of Q in tree b; 0 if all Q are equal."""
    q_range = tree.max_q[b] - tree.min_q[b]
    tolerance = Q_TOLERANCE * max(abs(tree.max_q[b]), abs(tree.min_q[b]))
    fraction: float = (q - tree.min_q[b]) / q_range if q_range > tolerance else 0.0
    return fraction


@numba_jit
def select_puct(tree: Tree, b: int, node: int, exploration: float) -> int:
    """Return the action with the largest Q + P * exploration * sqrt(node visits) / (1 + N).

    The Q of an action without visits is the value of the node.
    """
    best, best_score = 0, -np.inf
    node_q = normalised_q(tree, b, tree.value[b, node])
    scale = exploration * np.sqrt(tree.node_visits[b, node])
    for k in range(tree.child.shape[2]):
        count = tree.visit_count[b, node, k]
        q = normalised_q(tree, b, tree.q[b, node, k]) if count > 0 else node_q
        score = q + scale * tree.prior[b, node, k] / (1 + count)
        if score > best_score:
            best, best_score = k, score
    return best


@numba_jit
def improved_logits(tree: Tree, b: int, node: int, logits: Floats) -> None:
    """Write the logits [K] of the improved policy: log prior + sigma(completed Q) (equation 11).

    The completed Q (equation 10) of an action without visits is the mixed value (appendix D): the
    mean of the node's raw value, counted as one visit, and of the visited Q, weighted by the prior
    and counted as all other visits. In a graph it is the node's value.
    """
    num_actions = tree.child.shape[2]
    max_count, total_count, visited_prior, weighted_q = 0, 0, 0.0, 0.0
    raw_value = tree.value[b, node] * tree.node_visits[b, node]
    for k in range(num_actions):
        count = tree.visit_count[b, node, k]
        if count > 0:
            q = tree.q[b, node, k]
            raw_value -= q * count  # the raw value is what remains of the sum of values
            max_count = max(max_count, count)
            total_count += count
            visited_prior += tree.prior[b, node, k]
            weighted_q += tree.prior[b, node, k] * q
    mixed_value = tree.value[b, node]
    if visited_prior > 0.0 and not tree.transpositions:
        mixed_value = (raw_value + total_count * weighted_q / visited_prior) / (1 + total_count)
    scale = (C_VISIT + max_count) * C_SCALE
    for k in range(num_actions):
        q = tree.q[b, node, k] if tree.visit_count[b, node, k] > 0 else mixed_value
        prior = max(tree.prior[b, node, k], 1e-30)
        logits[k] = np.log(prior) + scale * normalised_q(tree, b, q)


@numba_jit
def root_improved_logits(tree: Tree, logits: Floats) -> None:
    """Write the `improved_logits` of all roots into logits [B, K]."""
    for b in range(len(logits)):
        improved_logits(tree, b, 0, logits[b])


@numba_jit
def softmax(logits: Floats) -> None:
    """Turn logits [K] into probabilities, in place."""
    largest = logits.max()
    total = 0.0
    for k in range(len(logits)):
        logits[k] = np.exp(logits[k] - largest)
        total += logits[k]
    for k in range(len(logits)):
        logits[k] /= total


@numba_jit
def select_by_improved_policy(tree: Tree, b: int, node: int, logits: Floats) -> int:
    """Return the action that brings the visits closest to the improved policy (equation 14).

    `logits` is a buffer [K].
    """
    improved_logits(tree, b, node, logits)
    softmax(logits)
    best, best_score = 0, -np.inf
    for k in range(len(logits)):
        # node_visits is 1 + the sum of the actions' visits, the denominator of the equation.
        score = logits[k] - tree.visit_count[b, node, k] / tree.node_visits[b, node]
        if score > best_score:
            best, best_score = k, score
    return best


@numba_jit
def select_by_halving(
    tree: Tree, b: int, gumbel: Floats, considered_visit: int, logits: Floats
) -> int:
    """Return the root's best action among those with `considered_visit` visits.

    Args:
        tree: all trees.
        b: index of the tree.
        gumbel: Gumbel noise of the root's actions [B, K].
        considered_visit: visit count of the actions to select from, see `considered_visits`.
        logits: buffer [K].
    """
    improved_logits(tree, b, 0, logits)
    best, best_score = 0, -np.inf
    for k in range(len(logits)):
        score = gumbel[b, k] + logits[k]
        if tree.visit_count[b, 0, k] == considered_visit and score > best_score:
            best, best_score = k, score
    return best


@numba_jit
def select_outcome(tree: Tree, b: int, first: int) -> int:
    """Return the node of the outcome with the largest probability / visits that is not terminal.

    The visits then approach the probabilities without sampling. If all outcomes are terminal, it
    is the node of the `first` one. Q does not depend on this choice: it weighs every outcome by its
    probability.
    """
    best, best_score = tree.next_node[b, first], -1.0
    for outcome in range(first, first + tree.num_outcomes):
        node = tree.next_node[b, outcome]
        score = tree.probability[b, outcome] / tree.node_visits[b, node]
        if score > best_score and not tree.terminal[b, node]:
            best, best_score = node, score
    return int(best)


@numba_jit
def state_row(tree: Tree, b: int, node: int) -> int:
    """Return the row of a node's state in `NodeStates`, which has the axes [simulation, B, C].

    The root is outcome 0 of simulation 0; the other C - 1 outcomes of simulation 0 are unused.
    """
    index = node + tree.num_outcomes - 1
    simulation, outcome = index // tree.num_outcomes, index % tree.num_outcomes
    row: int = (simulation * len(tree.min_q) + b) * tree.num_outcomes + outcome
    return row


@numba_jit
def simulate(
    tree: Tree,
    path: SimulationPath,
    exploration: float,
    gumbel: Floats,
    considered_visit: int,
) -> int:
    """Descend from every root until an action is not expanded yet or a node is terminal.

    Args:
        tree: all trees.
        path: is overwritten.
        exploration: weight of the prior in PUCT.
        gumbel: Gumbel noise of the root's actions [B, K]; unused with PUCT.
        considered_visit: see `select_by_halving`; -1: select by PUCT.

    Returns:
        Number of trees in which there is an action to expand.
    """
    logits = np.zeros(tree.child.shape[2])
    num_expanded = 0
    for b in range(len(path.leaf)):
        node, k, length = 0, -1, 0
        while not tree.terminal[b, node]:
            if considered_visit < 0:
                k = select_puct(tree, b, node, exploration)
            elif node == 0:
                k = select_by_halving(tree, b, gumbel, considered_visit, logits)
            else:
                k = select_by_improved_policy(tree, b, node, logits)
            path.node[b, length], path.action[b, length] = node, k
            length += 1
            child = tree.child[b, node, k]
            if child < 0:
                num_expanded += 1
                break
            node, k = select_outcome(tree, b, child), -1
        path.length[b] = length
        path.leaf[b], path.leaf_action[b] = node, k
        path.leaf_row[b], path.valid_action[b] = state_row(tree, b, node), max(k, 0)
    return num_expanded
