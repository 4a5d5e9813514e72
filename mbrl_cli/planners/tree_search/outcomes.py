"""What the model predicts for the action that a simulation expands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mbrl_cli.planners.tree_search.tree import Floats, Ints


class Outcomes(NamedTuple):
    """Predictions for the C outcomes of the expanded action, overwritten in every simulation.

    Axes: B trees, C outcomes, K actions of the new nodes.
    """

    transposition: Ints  # [B, C] earlier node in the same state; -1: none, a node of its own
    probability: Floats  # [B, C]
    reward: Floats  # [B, C]
    continues: Floats  # [B, C] probability that the episode continues after the step
    value: Floats  # [B, C] raw value of the new node
    prior: Floats  # [B, C, K] of the new node's actions


def new_outcomes(num_trees: int, num_outcomes: int, num_actions: int) -> Outcomes:
    """Return arrays for the outcomes of one simulation: equally likely, with a uniform prior."""
    size = (num_trees, num_outcomes)  # [B, C]
    return Outcomes(
        transposition=np.full(size, -1, np.int64),
        probability=np.full(size, 1.0 / num_outcomes),
        reward=np.zeros(size),
        continues=np.zeros(size),
        value=np.zeros(size),
        prior=np.full((*size, num_actions), 1.0 / num_actions),
    )
