"""Predict the outcomes of the actions that a simulation expands."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.planners.tree_search.leaf_plans import LeafPlans
from mbrl_cli.planners.tree_search.node_actions import NodeActions
from mbrl_cli.planners.tree_search.node_states import NodeStates
from mbrl_cli.planners.tree_search.outcomes import Outcomes
from mbrl_cli.planners.tree_search.simulation_path import SimulationPath
from mbrl_cli.planners.tree_search.transposition_table import TranspositionTable
from mbrl_cli.planners.tree_search.tree import Ints
from mbrl_cli.planners.world import World
from mbrl_cli.types import State


class OutcomePredictor:
    """Step the world from the leaves of B trees and write its predictions into `Outcomes`.

    Axes: B trees, C outcomes, P particles, A action dim.

    Args:
        world: functions of the model.
        states: states of all nodes; the predictor stores the new ones.
        actions: actions of all nodes.
        path: path of the current simulation.
        outcomes: is overwritten by `predict_root` and `predict`.
        leaf_plans: evaluates new nodes; None: `world.value` does, or their value stays 0.
        transpositions: finds earlier nodes in the same state; None: every outcome is a new node.
    """

    def __init__(
        self,
        world: World,
        states: NodeStates,
        actions: NodeActions,
        path: SimulationPath,
        outcomes: Outcomes,
        leaf_plans: LeafPlans | None,
        transpositions: TranspositionTable | None,
    ) -> None:
        self.world = world
        self.states = states
        self.actions = actions
        self.path = path
        self.outcomes = outcomes
        self.leaf_plans = leaf_plans
        self.transpositions = transpositions
        self.device = states.alive.device
        # Tensors that share the memory of the arrays.
        self._leaf_row = torch.from_numpy(path.leaf_row)
        self._valid_action = torch.from_numpy(path.valid_action)
        self._probability = torch.from_numpy(outcomes.probability)
        self._reward = torch.from_numpy(outcomes.reward)
        self._continues = torch.from_numpy(outcomes.continues)
        self._value = torch.from_numpy(outcomes.value)
        self._prior = torch.from_numpy(outcomes.prior)

    def predict_root(self, root: State) -> None:
        """Write prior and value of the roots [B, P, ...] into the outcomes."""
        self._predict_value(root, self.states.alive[0], np.zeros_like(self.path.leaf))

    def predict(self, simulation: int, first_node: int, depth: Ints) -> None:
        """Predict the outcomes of the expanded actions.

        In a tree whose leaf is terminal the prediction is computed as well, but not used.

        Args:
            simulation: its number; 0 is the root.
            first_node: number of the first new node.
            depth: depth of the new nodes [B].
        """
        row = self._leaf_row.to(self.device)
        action = self.actions.select(self.path.leaf, self._valid_action.to(self.device))  # [B, A]
        state, reward, continues = self.world.step(self.states.states(row), action)
        alive = continues  # [B, P]
        if self.states.num_particles > 1:
            alive_before = self.states.alive_at(row)  # [B, P]
            alive = alive_before * continues
            self.states.alive[simulation] = alive
            reward, continues = self._means(alive_before, reward, alive)  # [B, C]
        self._reward.copy_(reward)
        self._continues.copy_(continues)
        self.states.store(simulation, state)
        self._predict_value(state, alive, depth)
        if self.transpositions is not None:
            # Adding 0 turns -0 into 0, so that equal states have equal bytes.
            parts = [(self.states.by_outcome(x) + 0.0).cpu().numpy() for x in state.values()]
            self.transpositions.find(parts, depth, first_node, self.path.leaf_action, self.outcomes)
        if self.leaf_plans is not None:
            self.leaf_plans.record(self.path, self.outcomes, first_node, self.world.discount)

    def _means(self, alive_before: Tensor, reward: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
        """Return reward and continues [B, C], means over the particles [B, P] that are alive."""
        sum_by_outcome = self.states.sum_by_outcome
        # The reward of a particle whose episode is over may be NaN.
        alive_reward = torch.where(alive_before > 0.0, alive_before * reward, 0.0)
        total = sum_by_outcome(alive_before)  # [B, C]
        if self.states.num_outcomes > 1:
            self._probability.copy_(total / total.sum(1, keepdim=True))
        return sum_by_outcome(alive_reward) / total, sum_by_outcome(alive) / total

    def _predict_value(self, state: State, alive: Tensor, depth: Ints) -> None:
        """Write prior and value of new nodes into the outcomes.

        Args:
            state: states [B, P, ...].
            alive: probability that a particle is alive there [B, P].
            depth: depth of the nodes [B].
        """
        world = self.world
        if world.prior is not None and self.actions.same_everywhere:
            by_outcome = {key: self.states.by_outcome(value) for key, value in state.items()}
            self._prior.copy_(world.prior(by_outcome).view_as(self._prior))
        if world.value is not None:
            value = world.value(state)  # [B, P]
        elif self.leaf_plans is not None:
            value = self.leaf_plans.value(state, alive, depth)
        else:
            return
        if self.states.num_particles > 1:
            alive_value = torch.where(alive > 0.0, alive * value, 0.0)
            value = self.states.sum_by_outcome(alive_value) / self.states.sum_by_outcome(alive)
        self._value.copy_(value)
