"""The model states of the nodes of the search trees."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.types import State


class NodeStates:
    """Store the states of all nodes, and divide a model's particles among the outcomes.

    A simulation stores the states [B, P, ...] that the expanded actions lead to. Particles
    c P / C to (c + 1) P / C - 1 are outcome c. To continue from it they are copied until there are
    P particles again.

    Axes: B trees, P particles, C outcomes, N = 1 + simulations, R = N B C rows.

    Args:
        root: states of the roots [B, P, ...].
        num_outcomes: C; divides P.
        num_simulations: simulations of a search.
        device: of the model.
    """

    def __init__(
        self, root: State, num_outcomes: int, num_simulations: int, device: torch.device
    ) -> None:
        num_trees, self.num_particles = next(iter(root.values())).shape[:2]
        self.num_outcomes = num_outcomes
        size = 1 + num_simulations
        # Two views of the same memory: by simulation, and by row. `simulation.state_row` computes
        # the row of a node.
        self._simulations: dict[str, tuple[Tensor, ...]] = {}  # N tensors [B, P, ...]
        self._rows: State = {}  # [R, P / C, ...]
        for key, value in root.items():
            stored = value.new_empty(size, *value.shape)  # [N, B, P, ...]
            self._rows[key] = self.by_outcome(stored.flatten(0, 1))
            self._simulations[key] = stored.unbind(0)
            self._simulations[key][0].copy_(value)
        # Probability that the episode of a particle continues up to the node.
        self.alive = torch.ones(size, num_trees, self.num_particles, device=device)  # [N, B, P]

    def states(self, row: Tensor) -> State:
        """Return the states [B, P, ...] of the nodes at `row` [B]."""
        return {
            key: self._copy_particles(rows.index_select(0, row)) for key, rows in self._rows.items()
        }

    def alive_at(self, row: Tensor) -> Tensor:
        """Return the probability [B, P] that each particle of the nodes at `row` [B] is alive."""
        rows = self.by_outcome(self.alive.flatten(0, 1))  # [R, P / C]
        return self._copy_particles(rows.index_select(0, row))

    def store(self, simulation: int, state: State) -> None:
        """Store the states [B, P, ...] that the actions expanded by a simulation lead to."""
        for key, steps in self._simulations.items():
            steps[simulation].copy_(state[key])

    def by_outcome(self, x: Tensor) -> Tensor:
        """Divide the particles [M, P, ...] among the outcomes: [M C, P / C, ...]."""
        if self.num_outcomes == 1:
            return x
        return x.reshape(len(x) * self.num_outcomes, -1, *x.shape[2:])

    def sum_by_outcome(self, x: Tensor) -> Tensor:
        """Sum over the particles [B, P] of each outcome: [B, C]."""
        return x.view(len(x), self.num_outcomes, -1).sum(-1)

    def _copy_particles(self, x: Tensor) -> Tensor:
        """Copy the particles of an outcome [M, P / C, ...] until there are P: [M, P, ...]."""
        if self.num_outcomes == 1:
            return x
        return x.repeat(1, self.num_outcomes, *[1] * (x.dim() - 2))
