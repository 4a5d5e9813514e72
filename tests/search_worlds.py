"""Worlds of numbered places for tests of the tree search."""

import numpy as np
import pytest
import torch

from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.world import World
from mbrl_cli.types import Step

CPU = torch.device("cpu")


SELECT = pytest.mark.parametrize("select", ["puct", "gumbel"])


def make_mcts(action, **changes):
    settings = {"num_simulations": 10, "horizon": 50, "leaf_plans": 0, "noise_beta": 0.0}
    return MCTS(action, CPU, **settings | changes)


def make_world(action, step, discount=1.0, particles=1, value=None, prior=None):
    """Return a world whose states are integers, called places, [M, P].

    `step` maps place [M, P] and action [M, A] to the next place, reward and continues [M, P].
    """

    def branch(state, num_plans):
        return {"at": state["at"].repeat_interleave(num_plans, 0)[:, None].repeat(1, particles)}

    def taken(state, action):
        place, reward, continues = step(state["at"], action)
        return Step({"at": place}, reward.float(), continues.float())

    return World(action, None, branch, taken, discount, None, value, prior)


def search(planner, world, roots, seed=0, noise=False):
    generator = torch.Generator().manual_seed(seed)
    state = {"at": torch.tensor(roots)}
    return planner.search(world, state, planner.initial_memory(len(roots)), generator, noise=noise)


def random_stochastic_mdp(seed, states=5, actions=2):
    """Return next states and rewards [S, K, 2] of two equally likely outcomes."""
    rng = np.random.default_rng(seed)
    moves = torch.tensor(rng.integers(states, size=(states, actions, 2)))
    return moves, torch.tensor(rng.normal(size=(states, actions, 2)))
