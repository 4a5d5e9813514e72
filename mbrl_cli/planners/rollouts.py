"""What a node of a search tree is worth where nobody has learned it: the best of some plans."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.tree import NOBODY, Ints, Tree, Walks
from mbrl_cli.types import State


class Rollouts:
    """R plans for each of B trees, counted in steps from the root, that judge all nodes.

    From a node at depth d a plan is followed from its own step d on, to the horizon: nodes are
    compared by what they come to at the same time, and a plan that was good from the root on is
    found again at every node along it.

    Axes: B trees, R plans, H horizon, P particles, C outcomes, A action dim.

    Args:
        shooting: draws the plans; its population is R.
        follow: `World.rollout`.
        best: the plan [B, H, A] that the decision before has left; it is one of the R.
        num_nodes: of a tree, in the end.
        generator: for the others.
    """

    def __init__(
        self,
        shooting: RandomShooting,
        follow: Callable[[State, Tensor, Tensor], Tensor],
        best: Tensor,
        num_nodes: int,
        generator: torch.Generator,
    ) -> None:
        self.follow = follow
        self.plans = shooting.random_plans(len(best), generator)  # [B, R, H, A]
        self.plans[:, -1] = best
        self.by_time = self.plans.transpose(1, 2)  # [B, H, R, A]
        trees, self.num_plans, self.horizon, _ = self.plans.shape
        self.trees = torch.arange(trees, device=best.device)
        self.time = torch.arange(self.horizon, device=best.device)
        self.latest = self.trees  # [B] the plan that was best at the node judged last
        # Of every node: what was paid on the way to it, and what its own value weighs.
        self.paid, self.reached = np.zeros((trees, num_nodes)), np.ones((trees, num_nodes))
        self.best_total = np.full(trees, -np.inf)
        self.best_node = np.zeros(trees, np.int64)
        self.best_index = np.full(trees, self.num_plans - 1)  # of its plan

    def __call__(self, state: State, there: Tensor, depth: Ints) -> Tensor:
        """Return the best plan's value [B, P] for particles that are there with chance [B, P]."""
        depths = torch.from_numpy(depth).to(self.trees.device)
        moment = (self.time + depths[:, None]).clamp_(max=self.horizon - 1)  # [B, H]
        actions = self.by_time[self.trees[:, None], moment]  # [B, H, R, A]
        actions = actions.transpose(0, 1).flatten(1, 2)  # [H, B R, A]
        rows = {key: value.repeat_interleave(self.num_plans, dim=0) for key, value in state.items()}
        steps = (self.horizon - depths).repeat_interleave(self.num_plans)
        returns = self.follow(rows, actions, steps).view(len(depth), self.num_plans, -1)
        weight = there[:, None]  # [B, 1, P]
        counted = torch.where(weight > 0.0, weight * returns, 0.0).sum(-1)  # [B, R]
        self.latest = counted.nan_to_num(-torch.inf).argmax(1)
        return returns[self.trees, self.latest]

    def remember(self, walks: Walks, new: int, discount: float) -> None:
        """Remember the path to nodes `new` and after, and the plan judged last, where best yet."""
        trees, outcomes = np.arange(len(walks.leaf)), slice(new, new + walks.share.shape[1])
        before = self.paid[trees, walks.leaf, None]  # [B, 1]
        share = self.reached[trees, walks.leaf, None]
        paid = before + share * walks.reward  # [B, C]
        reached = share * discount * walks.chance
        self.paid[:, outcomes], self.reached[:, outcomes] = paid, reached
        returns = paid + np.where(walks.chance >= NOBODY, reached * walks.value, 0.0)
        total = np.where(walks.share > 0.0, walks.share * returns, 0.0).sum(1)  # [B]
        better = (walks.choice >= 0) & (total > self.best_total)
        self.best_total[better] = total[better]
        self.best_node[better] = new
        self.best_index[better] = self.latest.cpu().numpy()[better]

    def best_plan(self, tree: Tree, choices: Tensor) -> Tensor:
        """Return the best plans [B, H, A]; `choices` [S or 1, B, K, A] are the nodes' actions."""
        plans = self.plans[self.trees, torch.from_numpy(self.best_index).to(self.trees.device)]
        for b, found in enumerate(self.best_node.tolist()):
            node = found
            while node > 0:
                parent, k = int(tree.parent[b, node]), int(tree.choice[b, node])
                own = choices[parent if len(choices) > 1 else 0, b, k]
                plans[b, int(tree.depth[b, parent])] = own
                node = parent
        return plans
