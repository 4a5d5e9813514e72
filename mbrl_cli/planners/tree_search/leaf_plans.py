"""Evaluate the new nodes of search trees by random plans, where no value is learned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.tree_search.node_actions import NodeActions
from mbrl_cli.planners.tree_search.outcomes import Outcomes
from mbrl_cli.planners.tree_search.simulation import MIN_CONTINUES
from mbrl_cli.planners.tree_search.simulation_path import SimulationPath
from mbrl_cli.planners.tree_search.tree import Ints, Tree
from mbrl_cli.types import State


class LeafPlans:
    """Value a node by the best of R plans, followed from the node to the horizon.

    All nodes of a tree use the same plans, which count their steps from the root: a node at depth d
    follows a plan from step d on. So nodes of different depth are compared at the same time step,
    and a plan that is good from the root on is evaluated again at every node along it. The class
    also remembers the best combination of a path through the tree and a plan after it.

    Axes: B trees, S nodes, K actions of a node, R plans, H horizon, P particles, C outcomes, A
    action dim.

    Args:
        shooting: samples the plans; its population is R.
        rollout_returns: `World.rollout_returns`.
        best: best plan [B, H, A] of the previous decision; it is one of the R.
        num_nodes: S, the number of nodes of a finished tree.
        generator: random numbers of the other plans.
    """

    def __init__(
        self,
        shooting: RandomShooting,
        rollout_returns: Callable[[State, Tensor, Tensor], Tensor],
        best: Tensor,
        num_nodes: int,
        generator: torch.Generator,
    ) -> None:
        self.rollout_returns = rollout_returns
        self.plans = shooting.random_plans(len(best), generator)  # [B, R, H, A]
        self.plans[:, -1] = best
        self._by_step = self.plans.transpose(1, 2)  # [B, H, R, A]
        num_trees, self.num_plans, self.horizon, _ = self.plans.shape
        self._trees = torch.arange(num_trees, device=best.device)
        self._steps = torch.arange(self.horizon, device=best.device)
        self._plan_index = self._trees  # [B] best plan at the nodes evaluated last
        # Of the path from the root to each node [B, S]: discounted sum of rewards, and discount.
        self._path_return = np.zeros((num_trees, num_nodes))
        self._path_discount = np.ones((num_trees, num_nodes))
        self._best_return = np.full(num_trees, -np.inf)
        self._best_node = np.zeros(num_trees, np.int64)  # end of the best path
        self._best_plan = np.full(num_trees, self.num_plans - 1)  # index of the plan after it

    def value(self, state: State, alive: Tensor, depth: Ints) -> Tensor:
        """Return the return [B, P] of each node's best plan.

        Args:
            state: states of one node in each tree [B, P, ...].
            alive: probability that a particle is alive there [B, P]; its weight in the comparison.
            depth: depth of the nodes [B].
        """
        depths = torch.from_numpy(depth).to(self._trees.device)
        step = (self._steps + depths[:, None]).clamp_(max=self.horizon - 1)  # [B, H]
        actions = self._by_step[self._trees[:, None], step]  # [B, H, R, A]
        actions = actions.transpose(0, 1).flatten(1, 2)  # [H, B R, A]
        rows = {key: value.repeat_interleave(self.num_plans, dim=0) for key, value in state.items()}
        num_steps = (self.horizon - depths).repeat_interleave(self.num_plans)  # [B R]
        returns = self.rollout_returns(rows, actions, num_steps)  # [B R, P]
        returns = returns.view(len(depth), self.num_plans, -1)  # [B, R, P]
        weight = alive[:, None]  # [B, 1, P]
        weighted = torch.where(weight > 0.0, weight * returns, 0.0).sum(-1)  # [B, R]
        self._plan_index = weighted.nan_to_num(-torch.inf).argmax(1)
        return returns[self._trees, self._plan_index]

    def record(
        self, path: SimulationPath, outcomes: Outcomes, first_node: int, discount: float
    ) -> None:
        """Store the return of the path to new nodes; keep path and plan if they are the best yet.

        Args:
            path: where the simulation has arrived.
            outcomes: predictions for the new nodes, with the values that `value` returned.
            first_node: number of the first new node.
            discount: per step.
        """
        trees = np.arange(len(path.leaf))
        nodes = slice(first_node, first_node + outcomes.probability.shape[1])
        leaf_return = self._path_return[trees, path.leaf, None]  # [B, 1]
        leaf_discount = self._path_discount[trees, path.leaf, None]
        path_return = leaf_return + leaf_discount * outcomes.reward  # [B, C]
        path_discount = leaf_discount * discount * outcomes.continues
        self._path_return[:, nodes], self._path_discount[:, nodes] = path_return, path_discount
        future = np.where(
            outcomes.continues >= MIN_CONTINUES, path_discount * outcomes.value, 0.0
        )  # [B, C]
        probability = outcomes.probability
        returns = np.where(probability > 0.0, probability * (path_return + future), 0.0).sum(1)
        better = (path.leaf_action >= 0) & (returns > self._best_return)  # [B]
        self._best_return[better] = returns[better]
        self._best_node[better] = first_node
        self._best_plan[better] = self._plan_index.cpu().numpy()[better]

    def best_plan(self, tree: Tree, actions: NodeActions) -> Tensor:
        """Return the best plans [B, H, A]: the actions of the best path, then its plan."""
        plans = self.plans[self._trees, torch.from_numpy(self._best_plan).to(self._trees.device)]
        for b, end in enumerate(self._best_node.tolist()):
            node = end
            while node > 0:
                parent, k = int(tree.parent[b, node]), int(tree.action[b, node])
                plans[b, int(tree.depth[b, parent])] = actions.at(b, parent, k)
                node = parent
        return plans
