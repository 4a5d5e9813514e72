"""The schedule of sequential halving (Karnin et al. 2013; Danihelka et al. 2022, section 3)."""

from __future__ import annotations

import numpy as np

from mbrl_cli.planners.tree_search.tree import Ints


def considered_visits(num_considered: int, num_simulations: int) -> Ints:
    """Return [simulations]: the visit count of the root actions that a simulation selects from.

    All considered actions get the same number of visits, then the better half of them, and so on
    down to two; each phase has about the same number of simulations.
    """
    visits: list[int] = []
    num_phases = max(1, int(np.ceil(np.log2(max(num_considered, 2)))))
    num_left, count = num_considered, 0
    while len(visits) < num_simulations:
        rounds = max(1, num_simulations // (num_phases * num_left))
        for _ in range(rounds):
            visits += [count] * num_left
            count += 1
        num_left = max(min(2, num_considered), num_left // 2)
    return np.array(visits[:num_simulations], np.int64)
