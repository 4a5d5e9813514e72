"""Planning as an agent of its own, which learns nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.planning import Planning
from mbrl_cli.envs.env import Env


class PlanningAgent(Agent):
    """Plan every action.

    Args:
        planning: model, planner, and where there is one the critic that values the last state.
    """

    def __init__(self, planning: Planning) -> None:
        self.planning = planning

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return a policy for these environments."""
        return self.planning.policy(envs, explore, generator)
