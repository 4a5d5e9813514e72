"""B search trees as arrays, and the arithmetic on them: descend, add a node, back up.

Every simulation adds at most one node to each tree, so node s + 1 is what simulation s found and
no node is an object. The loops over trees and levels are compiled where numba is installed.

Sources: PUCT and the normalisation of values, Schrittwieser et al. 2020 (MuZero, appendix B);
choosing by Gumbel numbers and sequential halving, Danihelka et al. 2022 (sections 3 to 5).
Notation: Q(s, a) -> reward + weight * value of the child, N(s, a) -> visits of the child,
P(s, a) -> prior, pi' -> improved policy, sigma(q) -> trust.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.planners.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TRUST_VISITS = 50.0  # c_visit of Danihelka et al.: how soon values outweigh the prior
SAME = 1e-5  # values that differ by less than this share of their size are the same
TRUST_SCALE = 0.1  # c_scale for values in [0, 1]
NOBODY = 1e-2  # a node that is reached with a smaller chance than this has ended


class Tree(NamedTuple):
    """Axes: B trees, S nodes (1 + simulations; 0 is the root), K choices at a node."""

    child: Ints  # [B, S, K] node that a choice leads to; -1: not tried yet
    prior: Floats  # [B, S, K] probability of a choice, before any search
    parent: Ints  # [B, S] -1 at the root
    choice: Ints  # [B, S] which of its parent's choices the node is
    depth: Ints  # [B, S] steps from the root
    ended: NDArray[np.bool_]  # [B, S] nothing comes after: the task is over, or the horizon reached
    visits: Ints  # [B, S] simulations that came through, the one that made it among them
    value: Floats  # [B, S] mean of the discounted returns from here on
    reward: Floats  # [B, S] of the step into the node
    weight: Floats  # [B, S] of its value at its parent: discount * chance that the task goes on
    low: Floats  # [B] least and
    high: Floats  # [B] largest Q of the tree so far: values are compared as shares of that range


class Walks(NamedTuple):
    """One simulation in every tree: where it goes, and what it finds there."""

    leaf: Ints  # [B] node that the walk came to
    choice: Ints  # [B] what is tried there; -1: nothing, the node has ended
    row: Ints  # [B] leaf * B + b, where the leaf's state lies
    taken: Ints  # [B] the choice, or any where there is none
    reward: Floats  # [B] of the step
    chance: Floats  # [B] that the task goes on after it
    value: Floats  # [B] guess of what comes after
    prior: Floats  # [B, K] of the new node's choices


def new_walks(num_trees: int, num_choices: int) -> Walks:
    """Return walks that have found nothing yet."""
    return Walks(
        leaf=np.zeros(num_trees, np.int64),
        choice=np.zeros(num_trees, np.int64),
        row=np.zeros(num_trees, np.int64),
        taken=np.zeros(num_trees, np.int64),
        reward=np.zeros(num_trees),
        chance=np.zeros(num_trees),
        value=np.zeros(num_trees),
        prior=np.zeros((num_trees, num_choices)),
    )


def new_tree(prior: Floats, value: Floats, num_simulations: int) -> Tree:
    """Return trees of a root each, with its prior [B, K] and a first guess of its value [B]."""
    num_trees, num_choices = prior.shape
    size = (num_trees, 1 + num_simulations)
    tree = Tree(
        child=np.full((*size, num_choices), -1, np.int64),
        prior=np.zeros((*size, num_choices)),
        parent=np.full(size, -1, np.int64),
        choice=np.full(size, -1, np.int64),
        depth=np.zeros(size, np.int64),
        ended=np.zeros(size, np.bool_),
        visits=np.zeros(size, np.int64),
        value=np.zeros(size),
        reward=np.zeros(size),
        weight=np.zeros(size),
        low=np.full(num_trees, np.inf),
        high=np.full(num_trees, -np.inf),
    )
    tree.prior[:, 0] = prior
    tree.value[:, 0] = value
    tree.visits[:, 0] = 1
    return tree


@compiled
def normalised(tree: Tree, b: int, q: float) -> float:
    """Return q as a share of the range of all Q in tree b."""
    spread = tree.high[b] - tree.low[b]
    least = SAME * max(abs(tree.high[b]), abs(tree.low[b]))  # rounding errors are no difference
    share: float = (q - tree.low[b]) / spread if spread > least else 0.0
    return share


@compiled
def child_value(tree: Tree, b: int, child: int) -> float:
    """Return Q of the choice that leads to `child`."""
    q: float = tree.reward[b, child] + tree.weight[b, child] * tree.value[b, child]
    return q


@compiled
def choose_by_bound(tree: Tree, b: int, node: int, exploration: float) -> int:
    """Return the choice of the largest Q + P * exploration * sqrt(visits) / (1 + N) (PUCT).

    What has not been tried is worth what the node is worth.
    """
    best, best_score = 0, -np.inf
    own = normalised(tree, b, tree.value[b, node])
    scale = exploration * np.sqrt(tree.visits[b, node])
    for k in range(tree.child.shape[2]):
        child = tree.child[b, node, k]
        if child < 0:
            score = own + scale * tree.prior[b, node, k]
        else:
            q = normalised(tree, b, child_value(tree, b, child))
            score = q + scale * tree.prior[b, node, k] / (1 + tree.visits[b, child])
        if score > best_score:
            best, best_score = k, score
    return best


@compiled
def improved_scores(tree: Tree, b: int, node: int, scores: Floats) -> None:
    """Write log prior + sigma(completed Q) of a node's choices into scores [K].

    A choice that was not tried has the value of the node: its own guess mixed with what the tried
    ones came to, each by its prior (appendix D).
    """
    num_choices = tree.child.shape[2]
    most, total, tried, known = 0, 0, 0.0, 0.0
    raw = tree.value[b, node] * tree.visits[b, node]
    for k in range(num_choices):
        child = tree.child[b, node, k]
        if child >= 0:
            q, visits = child_value(tree, b, child), tree.visits[b, child]
            raw -= q * visits  # what is left in the end is the node's first guess
            most = max(most, visits)
            total += visits
            tried += tree.prior[b, node, k]
            known += tree.prior[b, node, k] * q
    mixed = tree.value[b, node]
    if tried > 0.0:
        mixed = (raw + total * known / tried) / (1 + total)
    trust = (TRUST_VISITS + most) * TRUST_SCALE
    for k in range(num_choices):
        child = tree.child[b, node, k]
        q = mixed if child < 0 else child_value(tree, b, child)
        prior = max(tree.prior[b, node, k], 1e-30)
        scores[k] = np.log(prior) + trust * normalised(tree, b, q)


@compiled
def softmax(scores: Floats) -> None:
    """Turn scores [K] into probabilities, in place."""
    highest = scores.max()
    total = 0.0
    for k in range(len(scores)):
        scores[k] = np.exp(scores[k] - highest)
        total += scores[k]
    for k in range(len(scores)):
        scores[k] /= total


@compiled
def choose_by_policy(tree: Tree, b: int, node: int, scores: Floats) -> int:
    """Return the choice that brings the visits nearest to the improved policy (equation 14)."""
    improved_scores(tree, b, node, scores)
    softmax(scores)
    best, best_lack = 0, -np.inf
    for k in range(len(scores)):
        child = tree.child[b, node, k]
        visits = tree.visits[b, child] if child >= 0 else 0
        # A node's visits are those of its choices and its own.
        lack = scores[k] - visits / tree.visits[b, node]
        if lack > best_lack:
            best, best_lack = k, lack
    return best


@compiled
def choose_by_halving(tree: Tree, b: int, gumbel: Floats, turn: int, scores: Floats) -> int:
    """Return the root's best choice among those that were visited `turn` times.

    Args:
        tree: all trees.
        b: which of them.
        gumbel: the Gumbel numbers of the root's choices [B, K].
        turn: how often a choice that is still considered has been visited, see `halving`.
        scores: memory [K].
    """
    improved_scores(tree, b, 0, scores)
    best, best_score = 0, -np.inf
    for k in range(len(scores)):
        child = tree.child[b, 0, k]
        visits = tree.visits[b, child] if child >= 0 else 0
        score = gumbel[b, k] + scores[k]
        if visits == turn and score > best_score:
            best, best_score = k, score
    return best


@compiled
def descend(tree: Tree, walks: Walks, exploration: float, gumbel: Floats, turn: int) -> int:
    """Walk down every tree until something new is chosen, or to where nothing comes after.

    Args:
        tree: all trees.
        walks: where the first four fields are filled in.
        exploration: weight of the prior in PUCT.
        gumbel: Gumbel numbers of the root's choices [B, K]; used where `turn` is not negative.
        turn: see `choose_by_halving`; -1: PUCT.

    Returns:
        How many walks came to something new.
    """
    scores = np.zeros(tree.child.shape[2])
    num_trees, new = len(walks.leaf), 0
    for b in range(num_trees):
        node, k = 0, -1
        while not tree.ended[b, node]:
            if turn < 0:
                k = choose_by_bound(tree, b, node, exploration)
            elif node == 0:
                k = choose_by_halving(tree, b, gumbel, turn, scores)
            else:
                k = choose_by_policy(tree, b, node, scores)
            child = tree.child[b, node, k]
            if child < 0:
                new += 1
                break
            node, k = child, -1
        walks.leaf[b], walks.choice[b] = node, k
        walks.row[b], walks.taken[b] = node * num_trees + b, max(k, 0)
    return new


@compiled
def record(tree: Tree, walks: Walks, new: int, discount: float, horizon: int) -> int:
    """Add node `new` where the walks came to, and back up what they found.

    Args:
        tree: all trees.
        walks: one in each.
        new: number of the node.
        discount: per step.
        horizon: depth at which nothing counts any more.

    Returns:
        In how many trees the step diverged: its reward then counts as the worst of the tree.
    """
    diverged = 0
    for b in range(len(walks.leaf)):
        node, total = walks.leaf[b], 0.0
        k = walks.choice[b]
        if k >= 0:
            parent, node = node, new
            reward, chance, value = walks.reward[b], walks.chance[b], walks.value[b]
            ended = chance < NOBODY
            if ended:
                value = 0.0
            if not np.isfinite(reward + chance + value + walks.prior[b].sum()):
                diverged += 1
                reward = tree.low[b] if tree.low[b] < np.inf else 0.0
                chance, value, ended = 0.0, 0.0, True
            tree.child[b, parent, k] = new
            tree.parent[b, new] = parent
            tree.choice[b, new] = k
            tree.depth[b, new] = tree.depth[b, parent] + 1
            tree.reward[b, new] = reward
            tree.weight[b, new] = discount * chance
            tree.ended[b, new] = ended or tree.depth[b, new] >= horizon
            tree.prior[b, new] = walks.prior[b]
            total = value
        while node >= 0:
            visits = tree.visits[b, node] + 1
            tree.visits[b, node] = visits
            tree.value[b, node] += (total - tree.value[b, node]) / visits
            if node > 0:
                q = child_value(tree, b, node)
                tree.low[b] = min(tree.low[b], q)
                tree.high[b] = max(tree.high[b], q)
                total = tree.reward[b, node] + tree.weight[b, node] * total
            node = tree.parent[b, node]
    return diverged


@compiled
def all_improved_scores(tree: Tree, scores: Floats) -> None:
    """Write the `improved_scores` of all roots into scores [B, K]."""
    for b in range(len(scores)):
        improved_scores(tree, b, 0, scores[b])


def halving(considered: int, num_simulations: int) -> Ints:
    """Return for each simulation how often the choice that it takes has been visited [S].

    Sequential halving: all considered choices get equally many visits, then the better half of
    them, and so on, down to two; each phase has about the same number of simulations.
    """
    turns: list[int] = []
    phases = max(1, int(np.ceil(np.log2(max(considered, 2)))))
    left, visited = considered, 0
    while len(turns) < num_simulations:
        rounds = max(1, num_simulations // (phases * left))
        for _ in range(rounds):
            turns += [visited] * left
            visited += 1
        left = max(min(2, considered), left // 2)
    return np.array(turns[:num_simulations], np.int64)
