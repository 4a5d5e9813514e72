"""Variants of agents that plan in a latent space.

True dynamics cannot be combined with a learned reward there, because no true latent state exists.
Reward and termination can be replaced where the model decodes observations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.planning import Planning
from mbrl_cli.agents.tdmpc2_agent import TDMPC2Agent
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.mixed_model import PARTS
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variant import Variant
from mbrl_cli.envs.env import Env
from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.planners.world import World
from mbrl_cli.types import State

VALUE_STEPS = 15  # imagined steps of the policy before the critics value a state


def latent_variants(run: DiagnosedRun, truth: Truth | None) -> list[Variant]:
    """Return the variants of an agent that plans with a latent model; empty: it does not.

    Args:
        run: the saved run.
        truth: of its environment; None: not known.
    """
    agent, model = run.agent, run.model
    if isinstance(agent, TDMPC2Agent):
        return [
            Variant(
                "values by imagined rollouts",
                frozenset({"terminal_value"}),
                f"with values that are the return of {VALUE_STEPS} imagined steps of the policy, "
                "and the critics after them",
                lambda: ImaginedValueAgent(run.load([])[0].agent),
            )
        ]
    planning = getattr(agent, "planning", None)
    if truth is None or model is None or not isinstance(planning, Planning):
        return []
    if isinstance(model, MarkovModel) or model.learns_from != "replay":
        return []
    found = [
        Variant(
            "planning in the true model",
            frozenset({"learning", *PARTS}),
            "with the planner in the true model",
            partial(_with_true_model, run, truth),
        )
    ]
    for part in ("reward", "termination"):
        known = getattr(run.objects.env.spec, f"known_{part}") is not None
        if getattr(truth, part) is not None and not known:
            found.append(
                Variant(
                    f"true {part}",
                    frozenset({part}),
                    f"with the true {part} of the decoded observations",
                    partial(_with_known_function, run, part),
                )
            )
    return found


def _with_true_model(run: DiagnosedRun, truth: Truth) -> Agent:
    agent = run.load([])[0].agent
    planning = getattr(agent, "planning", None)
    assert isinstance(planning, Planning)
    planning.model = truth.oracle
    return agent


def _with_known_function(run: DiagnosedRun, part: str) -> Agent:
    return run.load([f"env.{part}=known"])[0].agent


class ImaginedValueAgent(Agent):
    """TD-MPC2 whose plans end with imagined steps of the policy; it learns nothing.

    Args:
        agent: the saved one.
    """

    def __init__(self, agent: Agent) -> None:
        assert isinstance(agent, TDMPC2Agent)
        self.agent = agent

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return a policy for these environments."""
        policy = self.agent.policy(envs, explore, generator)
        policy.make_world = self.world
        policy.world = self.world(policy.generator)
        return policy

    def world(self, generator: torch.Generator) -> World:
        """Return the functions that the planner calls."""
        world = self.agent.world(generator)
        assert world.value is not None
        return World.of_model(
            self.agent.model,
            self.agent.discount,
            generator,
            value=partial(self._value, world.value, generator),
            prior=world.prior,
            propose=world.propose,
        )

    def _value(
        self, critics: Callable[[State], Tensor], generator: torch.Generator, state: State
    ) -> Tensor:
        """Return the values [M, P] of imagined states."""
        agent = self.agent
        shape = state["latent"].shape[:2]
        total = torch.zeros(shape, device=state["latent"].device)
        weight = torch.ones_like(total)
        for _ in range(VALUE_STEPS):
            action = agent.actor.act(state["latent"].flatten(0, 1), None).view(*shape, -1)
            step = agent.model.step(state, action, generator)
            total = total + weight * step.reward
            weight = weight * agent.discount * step.continues
            state = step.state
        return total + weight * critics(state)
