"""The compiled part of a search: expand the leaves, back up the result, descend to the next leaves.

More than 300 lines: compiled functions that call each other must be in one file (`numba_jit`).

Sources: PUCT and the min-max normalisation of Q, Schrittwieser et al. 2020 (MuZero, appendix B);
Gumbel MuZero's selection, Danihelka et al. 2022 ("Policy improvement by planning with Gumbel",
sections 3 to 5).
Notation: Q(s, a) -> q, N(s, a) -> visit_count, P(s, a) -> prior, pi' -> improved policy,
c_visit, c_scale -> C_VISIT, C_SCALE.
"""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.numba_jit import numba_jit
from mbrl_cli.planners.tree_search.outcomes import Outcomes
from mbrl_cli.planners.tree_search.simulation_path import SimulationPath
from mbrl_cli.planners.tree_search.tree import Floats, Tree

# sigma(q) = (C_VISIT + largest visit count) * C_SCALE * q (equation 8).
C_VISIT = 50.0
C_SCALE = 0.1
MIN_CONTINUES = 1e-2  # a node that is reached with a smaller probability is terminal
NO_PATH = -1  # as leaf of a path: the search has not started
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
    largest, total = logits[0], 0.0
    for k in range(1, len(logits)):
        largest = max(largest, logits[k])
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
        gumbel: noise of the root's actions [B, K].
        considered_visit: see `considered_visits`.
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
    if tree.num_outcomes == 1:
        return int(best)
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
def descend(
    tree: Tree,
    path: SimulationPath,
    b: int,
    exploration: float,
    gumbel: Floats,
    considered_visit: int,
) -> bool:
    """Write the next path of tree b; return whether there is an action to expand at its end.

    The path ends where an action is not expanded yet or a node is terminal. The arguments are those
    of `simulate`.
    """
    node, k, length, unexpanded = 0, -1, 0, False
    while not tree.terminal[b, node]:
        if considered_visit < 0:
            k = select_puct(tree, b, node, exploration)
        elif node == 0:
            k = select_by_halving(tree, b, gumbel, considered_visit, path.logits)
        else:
            k = select_by_improved_policy(tree, b, node, path.logits)
        path.node[b, length], path.action[b, length] = node, k
        length += 1
        child = tree.child[b, node, k]
        if child < 0:
            unexpanded = True
            break
        node, k = select_outcome(tree, b, child), -1
    path.length[b] = length
    path.leaf[b], path.leaf_action[b] = node, k
    path.leaf_row[b], path.valid_action[b] = state_row(tree, b, node), max(k, 0)
    path.new_depth[b] = tree.depth[b, node] + 1
    return unexpanded


@numba_jit
def simulate(
    tree: Tree,
    path: SimulationPath,
    outcomes: Outcomes,
    first_node: int,
    discount: float,
    horizon: int,
    exploration: float,
    gumbel: Floats,
    considered_visit: int,
) -> tuple[int, int]:
    """Finish the current simulation of every tree, then descend from the root to the next leaf.

    Args:
        tree: all trees.
        path: of the current simulation, overwritten by that of the next; `NO_PATH`: there is none
            to finish yet.
        outcomes: the model's predictions for the actions that the current simulation expands.
        first_node: number of the first new node; C - 1 others follow.
        discount: per step.
        horizon: depth from which on nodes are terminal.
        exploration: weight of the prior in PUCT.
        gumbel: Gumbel noise of the root's actions [B, K]; unused with PUCT.
        considered_visit: of the next simulation, see `select_by_halving`; -1: select by PUCT.

    Returns:
        Number of trees in which the next simulation expands an action, and number of trees in which
        a prediction for the current one is not finite. Such an outcome is terminal, and its reward
        is the smallest Q of the tree.
    """
    num_unexpanded, num_nonfinite = 0, 0
    for b in range(len(path.leaf)):
        if path.leaf_action[b] >= 0:
            num_nonfinite += expand_tree(tree, path, outcomes, b, first_node, discount, horizon)
        if path.leaf[b] != NO_PATH:
            backup_tree(tree, path, b)
        num_unexpanded += descend(tree, path, b, exploration, gumbel, considered_visit)
    return num_unexpanded, num_nonfinite


@numba_jit
def expand_tree(
    tree: Tree,
    path: SimulationPath,
    outcomes: Outcomes,
    b: int,
    first_node: int,
    discount: float,
    horizon: int,
) -> int:
    """Add the new nodes to tree b; return 1 if a prediction is not finite. See `simulate`."""
    parent, k, nonfinite = path.leaf[b], path.leaf_action[b], 0
    tree.child[b, parent, k] = first_node
    for c in range(tree.num_outcomes):
        node, probability = first_node + c, outcomes.probability[b, c]
        reward, continues = outcomes.reward[b, c], outcomes.continues[b, c]
        value = outcomes.value[b, c]
        terminal = continues < MIN_CONTINUES
        if terminal:
            value = 0.0
        total = reward + continues + value
        for action in range(outcomes.prior.shape[2]):  # loops, as slices of arrays are slow
            tree.prior[b, node, action] = outcomes.prior[b, c, action]
            total += outcomes.prior[b, c, action]
        if probability == 0.0:  # no particle is left in this outcome
            reward, continues, value, terminal = 0.0, 0.0, 0.0, True
        elif not np.isfinite(total):
            nonfinite = 1
            reward = tree.min_q[b] if tree.min_q[b] < np.inf else 0.0
            continues, value, terminal = 0.0, 0.0, True
        earlier = outcomes.transposition[b, c]
        tree.next_node[b, node] = earlier if earlier >= 0 else node
        tree.parent[b, node], tree.action[b, node] = parent, k
        tree.probability[b, node] = probability
        tree.reward[b, node], tree.discount[b, node] = reward, discount * continues
        tree.depth[b, node] = tree.depth[b, parent] + 1
        tree.terminal[b, node] = terminal or tree.depth[b, node] >= horizon
        tree.raw_value[b, node] = tree.value[b, node] = value
    return nonfinite


@numba_jit
def backup_tree(tree: Tree, path: SimulationPath, b: int) -> None:
    """Update the nodes on the path of tree b.

    The value of a node is (raw value + sum of N Q) / node visits. With one outcome this is the mean
    of the returns of all simulations through the node; with several, Q is the expectation over
    outcomes, so it does not depend on which of them were visited. In a graph, Q also changes by
    simulations on other paths, and a mean over visits would weigh outdated values; there the value
    of a node is its largest Q.
    """
    leaf = path.leaf[b]
    increase = 0.0  # of node visits * value at the current node
    if path.leaf_action[b] < 0:  # a terminal leaf: the value of what follows is 0
        tree.node_visits[b, leaf] += 1
        tree.value[b, leaf] += (increase - tree.value[b, leaf]) / tree.node_visits[b, leaf]
    for level in range(path.length[b] - 1, -1, -1):
        node, k = path.node[b, level], path.action[b, level]
        old_q = tree.q[b, node, k]
        update_q(tree, b, node, k)
        tree.visit_count[b, node, k] += 1
        tree.node_visits[b, node] += 1
        if tree.transpositions:
            tree.value[b, node] = largest_q(tree, b, node)
            continue
        if tree.num_outcomes == 1 and tree.visit_count[b, node, k] > 1:
            # Equal to the general case below, without its rounding errors.
            outcome = tree.child[b, node, k]
            increase = tree.reward[b, outcome] + tree.discount[b, outcome] * increase
        else:
            q = tree.q[b, node, k]
            increase = q + (tree.visit_count[b, node, k] - 1) * (q - old_q)
        tree.value[b, node] += (increase - tree.value[b, node]) / tree.node_visits[b, node]


@numba_jit
def update_q(tree: Tree, b: int, node: int, k: int) -> None:
    """Compute Q of an action from its outcomes, and update the range of Q."""
    first, q = tree.child[b, node, k], 0.0
    for outcome in range(first, first + tree.num_outcomes):
        future = tree.discount[b, outcome] * tree.value[b, tree.next_node[b, outcome]]
        q += tree.probability[b, outcome] * (tree.reward[b, outcome] + future)
    tree.q[b, node, k] = q
    tree.min_q[b] = min(tree.min_q[b], q)
    tree.max_q[b] = max(tree.max_q[b], q)


@numba_jit
def largest_q(tree: Tree, b: int, node: int) -> float:
    """Update Q of all visited actions; return the largest. An unvisited one has the raw value."""
    largest = -np.inf
    for k in range(tree.child.shape[2]):
        if tree.visit_count[b, node, k] > 0:
            update_q(tree, b, node, k)
            largest = max(largest, tree.q[b, node, k])
        else:
            largest = max(largest, tree.raw_value[b, node])
    return largest
