"""B search trees as arrays, and the arithmetic on them: descend, add nodes, back up.

Every simulation tries at most one choice in each tree. What it leads to are C outcomes, nodes in a
row: simulation s makes nodes 1 + s C to (s + 1) C, so no node is an object. With C = 1 all luck
shares a node, and later choices with it; with more, what is chosen later depends on the outcome.
An outcome may lead to an earlier node instead, one in the same state at the same depth: the tree is
then a graph without circles, and of its own node only the step remains.
The loops over trees and levels are compiled where numba is installed.

Sources: PUCT and the normalisation of values, Schrittwieser et al. 2020 (MuZero, appendix B);
choosing by Gumbel numbers and sequential halving, Danihelka et al. 2022 (sections 3 to 5); values
in a graph, Czech et al. 2021 ("Improving AlphaZero using Monte-Carlo graph search").
Notation: Q(s, a) -> q, mean over outcomes of reward + weight * value, N(s, a) -> tried,
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
    """Axes: B trees, S nodes (1 + C * simulations; 0 is the root), K choices at a node."""

    outcomes: int  # C of a choice
    merging: bool  # an outcome may lead to an earlier node; a node is worth its best choice then
    # Choices.
    child: Ints  # [B, S, K] first of the outcomes that a choice leads to; -1: not tried yet
    tried: Ints  # [B, S, K] simulations that took the choice
    q: Floats  # [B, S, K] what it is worth: mean over outcomes of reward + weight * value
    prior: Floats  # [B, S, K] probability of a choice, before any search
    # Outcomes, the steps into nodes of the same number.
    node: Ints  # [B, S] where the step leads: that node, or an earlier one in the same state
    parent: Ints  # [B, S] -1 at the root
    choice: Ints  # [B, S] which of its parent's choices the outcome comes from
    share: Floats  # [B, S] chance of the outcome among its choice's
    reward: Floats  # [B, S] of the step
    weight: Floats  # [B, S] of what comes after it: discount * chance that the task goes on
    # Nodes.
    depth: Ints  # [B, S] steps from the root
    ended: NDArray[np.bool_]  # [B, S] nothing comes after: the task is over, or the horizon reached
    visits: Ints  # [B, S] its first guess, and simulations that chose something here
    guess: Floats  # [B, S] what it was worth at first
    value: Floats  # [B, S] mean of that guess and of what its choices are worth, by their visits
    # Trees.
    low: Floats  # [B] least and
    high: Floats  # [B] largest Q of the tree so far: values are compared as shares of that range


class Walks(NamedTuple):
    """One simulation in every tree: where it goes, and what it finds there."""

    path: Ints  # [B, 1 + simulations] nodes on the way, the root first,
    choices: Ints  # [B, 1 + simulations] what was chosen there,
    length: Ints  # [B] and how many they were
    leaf: Ints  # [B] node that the walk came to
    choice: Ints  # [B] what is tried there; -1: nothing, the node has ended
    row: Ints  # [B] where the leaf's state lies, see `row_of`
    taken: Ints  # [B] the choice, or any where there is none
    node: Ints  # [B, C] earlier node that an outcome leads to; -1: one of its own
    share: Floats  # [B, C] chance of each outcome
    reward: Floats  # [B, C] of the step
    chance: Floats  # [B, C] that the task goes on after it
    value: Floats  # [B, C] guess of what comes after
    prior: Floats  # [B, C, K] of the new nodes' choices


def new_walks(num_trees: int, outcomes: int, num_choices: int, num_simulations: int) -> Walks:
    """Return walks that have found nothing yet."""
    each, way = (num_trees, outcomes), (num_trees, 1 + num_simulations)
    return Walks(
        path=np.zeros(way, np.int64),
        choices=np.zeros(way, np.int64),
        length=np.zeros(num_trees, np.int64),
        leaf=np.zeros(num_trees, np.int64),
        choice=np.zeros(num_trees, np.int64),
        row=np.zeros(num_trees, np.int64),
        taken=np.zeros(num_trees, np.int64),
        node=np.full(each, -1, np.int64),
        share=np.full(each, 1.0 / outcomes),
        reward=np.zeros(each),
        chance=np.zeros(each),
        value=np.zeros(each),
        prior=np.zeros((*each, num_choices)),
    )


def new_tree(
    prior: Floats, value: Floats, outcomes: int, merging: bool, num_simulations: int
) -> Tree:
    """Return trees of a root each, with its prior [B, K] and a first guess of its value [B]."""
    num_trees, num_choices = prior.shape
    size = (num_trees, 1 + outcomes * num_simulations)
    tree = Tree(
        outcomes=outcomes,
        merging=merging,
        child=np.full((*size, num_choices), -1, np.int64),
        tried=np.zeros((*size, num_choices), np.int64),
        q=np.zeros((*size, num_choices)),
        prior=np.zeros((*size, num_choices)),
        node=np.zeros(size, np.int64),
        parent=np.full(size, -1, np.int64),
        choice=np.full(size, -1, np.int64),
        share=np.zeros(size),
        reward=np.zeros(size),
        weight=np.zeros(size),
        depth=np.zeros(size, np.int64),
        ended=np.zeros(size, np.bool_),
        visits=np.ones(size, np.int64),
        guess=np.zeros(size),
        value=np.zeros(size),
        low=np.full(num_trees, np.inf),
        high=np.full(num_trees, -np.inf),
    )
    tree.prior[:, 0] = prior
    tree.guess[:, 0] = tree.value[:, 0] = value
    return tree


@compiled
def normalised(tree: Tree, b: int, q: float) -> float:
    """Return q as a share of the range of all Q in tree b."""
    spread = tree.high[b] - tree.low[b]
    least = SAME * max(abs(tree.high[b]), abs(tree.low[b]))  # rounding errors are no difference
    share: float = (q - tree.low[b]) / spread if spread > least else 0.0
    return share


@compiled
def choose_by_bound(tree: Tree, b: int, node: int, exploration: float) -> int:
    """Return the choice of the largest Q + P * exploration * sqrt(visits) / (1 + N) (PUCT).

    What has not been tried is worth what the node is worth.
    """
    best, best_score = 0, -np.inf
    own = normalised(tree, b, tree.value[b, node])
    scale = exploration * np.sqrt(tree.visits[b, node])
    for k in range(tree.child.shape[2]):
        tried = tree.tried[b, node, k]
        q = normalised(tree, b, tree.q[b, node, k]) if tried > 0 else own
        score = q + scale * tree.prior[b, node, k] / (1 + tried)
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
        visits = tree.tried[b, node, k]
        if visits > 0:
            q = tree.q[b, node, k]
            raw -= q * visits  # what is left in the end is the node's first guess
            most = max(most, visits)
            total += visits
            tried += tree.prior[b, node, k]
            known += tree.prior[b, node, k] * q
    mixed = tree.value[b, node]
    if tried > 0.0 and not tree.merging:
        mixed = (raw + total * known / tried) / (1 + total)
    trust = (TRUST_VISITS + most) * TRUST_SCALE
    for k in range(num_choices):
        q = tree.q[b, node, k] if tree.tried[b, node, k] > 0 else mixed
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
        # A node's visits are those of its choices and its own.
        lack = scores[k] - tree.tried[b, node, k] / tree.visits[b, node]
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
        score = gumbel[b, k] + scores[k]
        if tree.tried[b, 0, k] == turn and score > best_score:
            best, best_score = k, score
    return best


@compiled
def likeliest_due(tree: Tree, b: int, first: int) -> int:
    """Return where the outcome leads that lacks visits most, of those where anything comes after.

    An outcome counts by its chance, however often it is visited: visits in proportion to chances
    only bring the mean's parts along at the same pace.
    """
    best, most = tree.node[b, first], -1.0
    for outcome in range(first, first + tree.outcomes):
        node = tree.node[b, outcome]
        due = tree.share[b, outcome] / tree.visits[b, node]
        if due > most and not tree.ended[b, node]:
            best, most = node, due
    return int(best)


@compiled
def row_of(tree: Tree, b: int, node: int) -> int:
    """Return where the state of a node lies, in rows [1 + simulations, B, C]; the root's is first.

    So the C outcomes of a step lie side by side, as the particles did that they were made of.
    """
    step = node + tree.outcomes - 1  # the root's row is followed by C - 1 that nobody uses
    row: int = (step // tree.outcomes * len(tree.low) + b) * tree.outcomes + step % tree.outcomes
    return row


@compiled
def descend(tree: Tree, walks: Walks, exploration: float, gumbel: Floats, turn: int) -> int:
    """Walk down every tree until something new is chosen, or to where nothing comes after.

    Args:
        tree: all trees.
        walks: where the first seven fields are filled in.
        exploration: weight of the prior in PUCT.
        gumbel: Gumbel numbers of the root's choices [B, K]; used where `turn` is not negative.
        turn: see `choose_by_halving`; -1: PUCT.

    Returns:
        How many walks came to something new.
    """
    scores = np.zeros(tree.child.shape[2])
    new = 0
    for b in range(len(walks.leaf)):
        node, k, length = 0, -1, 0
        while not tree.ended[b, node]:
            if turn < 0:
                k = choose_by_bound(tree, b, node, exploration)
            elif node == 0:
                k = choose_by_halving(tree, b, gumbel, turn, scores)
            else:
                k = choose_by_policy(tree, b, node, scores)
            walks.path[b, length], walks.choices[b, length] = node, k
            length += 1
            child = tree.child[b, node, k]
            if child < 0:
                new += 1
                break
            node, k = likeliest_due(tree, b, child), -1
        walks.length[b] = length
        walks.leaf[b], walks.choice[b] = node, k
        walks.row[b], walks.taken[b] = row_of(tree, b, node), max(k, 0)
    return new


@compiled
def add_outcomes(tree: Tree, walks: Walks, b: int, new: int, discount: float, horizon: int) -> int:
    """Add nodes `new` and after to tree b; return 1 if the step diverged, see `record`."""
    parent, k, diverged = walks.leaf[b], walks.choice[b], 0
    tree.child[b, parent, k] = new
    for c in range(tree.outcomes):
        node, share = new + c, walks.share[b, c]
        reward, chance, value = walks.reward[b, c], walks.chance[b, c], walks.value[b, c]
        ended = chance < NOBODY
        if ended:
            value = 0.0
        if share == 0.0:  # nobody is there
            reward, chance, value, ended = 0.0, 0.0, 0.0, True
        elif not np.isfinite(reward + chance + value + walks.prior[b, c].sum()):
            diverged = 1
            reward = tree.low[b] if tree.low[b] < np.inf else 0.0
            chance, value, ended = 0.0, 0.0, True
        tree.node[b, node] = walks.node[b, c] if walks.node[b, c] >= 0 else node
        tree.parent[b, node], tree.choice[b, node], tree.share[b, node] = parent, k, share
        tree.reward[b, node], tree.weight[b, node] = reward, discount * chance
        tree.depth[b, node] = tree.depth[b, parent] + 1
        tree.ended[b, node] = ended or tree.depth[b, node] >= horizon
        tree.guess[b, node] = tree.value[b, node] = value
        tree.prior[b, node] = walks.prior[b, c]
    return diverged


@compiled
def judge_choice(tree: Tree, b: int, node: int, k: int) -> None:
    """Take Q of a choice anew from its outcomes."""
    first, q = tree.child[b, node, k], 0.0
    for outcome in range(first, first + tree.outcomes):
        after = tree.weight[b, outcome] * tree.value[b, tree.node[b, outcome]]
        q += tree.share[b, outcome] * (tree.reward[b, outcome] + after)
    tree.q[b, node, k] = q
    tree.low[b] = min(tree.low[b], q)
    tree.high[b] = max(tree.high[b], q)


@compiled
def best_choice(tree: Tree, b: int, node: int) -> float:
    """Return Q of the best choice, all taken anew; what was not tried is worth the first guess."""
    best = -np.inf
    for k in range(tree.child.shape[2]):
        if tree.tried[b, node, k] > 0:
            judge_choice(tree, b, node, k)
            best = max(best, tree.q[b, node, k])
        else:
            best = max(best, tree.guess[b, node])
    return best


@compiled
def back_up(tree: Tree, walks: Walks, b: int) -> None:
    """Let all nodes on the walk know what it found, the last one first.

    A node's value stays (first guess + sum of N Q) / visits. With one outcome that is the mean of
    the returns that came through; with more, Q holds no luck of the walk's own. In a graph Q also
    moves by what other walks find, and old visits would be held against what is known now: there a
    node is worth its best choice.
    """
    total, leaf = 0.0, walks.leaf[b]  # total: by how much visits * value of a node grows
    if walks.choice[b] < 0:  # the leaf has ended: there is nothing to choose, and nothing after
        tree.visits[b, leaf] += 1
        tree.value[b, leaf] += (total - tree.value[b, leaf]) / tree.visits[b, leaf]
    for level in range(walks.length[b] - 1, -1, -1):
        node, k = walks.path[b, level], walks.choices[b, level]
        before = tree.q[b, node, k]
        judge_choice(tree, b, node, k)
        tree.tried[b, node, k] += 1
        tree.visits[b, node] += 1
        if tree.merging:
            tree.value[b, node] = best_choice(tree, b, node)
            continue
        if tree.outcomes == 1 and tree.tried[b, node, k] > 1:  # as below, without its roundings
            step = tree.child[b, node, k]
            total = tree.reward[b, step] + tree.weight[b, step] * total
        else:
            q = tree.q[b, node, k]
            total = q + (tree.tried[b, node, k] - 1) * (q - before)
        tree.value[b, node] += (total - tree.value[b, node]) / tree.visits[b, node]


@compiled
def record(tree: Tree, walks: Walks, new: int, discount: float, horizon: int) -> int:
    """Add the nodes from `new` on where the walks came to, and back up what they found.

    Args:
        tree: all trees.
        walks: one in each.
        new: number of the first node.
        discount: per step.
        horizon: depth at which nothing counts any more.

    Returns:
        In how many trees the step diverged: its reward then counts as the worst of the tree.
    """
    diverged = 0
    for b in range(len(walks.leaf)):
        if walks.choice[b] >= 0:
            diverged += add_outcomes(tree, walks, b, new, discount, horizon)
        back_up(tree, walks, b)
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
