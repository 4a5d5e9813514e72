"""Planners, and a world that evaluates plans by a function, for tests."""

from dataclasses import dataclass, field

import pytest
import torch

from mbrl_cli.models.plan_evaluation import PlanEvaluation
from mbrl_cli.planners.cem import CEM
from mbrl_cli.planners.mppi import MPPI
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.world import World

CPU = torch.device("cpu")


HORIZON = 6


def make_cem(action, **changes):
    settings = {"horizon": HORIZON, "elite_ratio": 0.1, "iterations": 5, "noise_beta": 0.0}
    return CEM(action, CPU, **settings | changes)


def make_shooting(action, **changes):
    settings = {"horizon": HORIZON, "noise_beta": 0.0}
    return RandomShooting(action, CPU, **settings | changes)


def make_icem(action, **changes):
    settings = {"population_decay": 1.25, "kept_ratio": 0.3, "noise_beta": 2.0, "try_mean": True}
    return make_cem(action, **settings | changes)


def make_mppi(action, **changes):
    return MPPI(action, CPU, **{"horizon": HORIZON, "iterations": 5} | changes)


# Planners that execute the best sampled plan, and all planners.
BEST = pytest.mark.parametrize("make_planner", [make_cem, make_icem, make_shooting])


ALL = pytest.mark.parametrize("make_planner", [make_cem, make_icem, make_shooting, make_mppi])


@dataclass
class FunctionWorld:
    """World that evaluates plans by a function and records every call.

    `returns` maps state, plans [B, N, H, A] to [B, N] or [B, N, P]; `disagreement` maps plans to
    [B, N].
    """

    returns: object
    disagreement: object = None
    plans: list = field(default_factory=list)  # plans [B, N, H, A] of each call
    results: list = field(default_factory=list)  # their returns [B, N, P]

    def world(self, action):
        return World(action, self.evaluate_plans, branch=None, step=None)

    def evaluate_plans(self, state, plans, with_disagreement):
        returns = self.returns(state, plans)
        returns = returns[..., None] if returns.dim() == 2 else returns
        self.plans.append(plans.clone())
        self.results.append(returns)
        return PlanEvaluation(returns, self.disagreement(plans) if with_disagreement else None)


def decide(planner, function_world, generator, num_envs=1, state=None, bonus=0.0, memory=None):
    state = {"obs": torch.zeros(num_envs, 1)} if state is None else state
    memory = planner.initial_memory(num_envs) if memory is None else memory
    world = function_world.world(planner.action)
    return planner.plan(world, state, memory, generator, bonus)


def is_legal(action_spec, plans):
    if action_spec.kind == "continuous":
        return bool((plans.abs() <= 1.0).all())
    blocks = torch.split(plans, list(action_spec.sizes), dim=-1)
    return all(bool(((b == 0) | (b == 1)).all() and (b.sum(-1) == 1).all()) for b in blocks)


TARGET = torch.tensor([[0.9, -0.7], [0.5, 0.1], [-0.8, 0.8], [0.0, -0.2], [0.3, 0.6], [-1.0, 0.4]])


def below_target(state, plans):
    return -(plans - TARGET).square().sum((-2, -1))
