"""How soft actor-critic acts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mbrl_cli.agents.base import Decision, Policy

if TYPE_CHECKING:
    from mbrl_cli.agents.sac import SAC


class SACPolicy(Policy):
    """Sample actions if it explores, else take the mode; of the weights that are to act now."""

    def __init__(self, agent: SAC, explore: bool, generator: torch.Generator) -> None:
        self.agent = agent
        self.explore = explore
        self.generator = generator

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Return actions for obs [B, O]."""
        agent, assessed = self.agent, self.agent.assessed
        generator = self.generator if self.explore and assessed.explores else None
        with assessed.acting() if self.explore else assessed.best():
            action = agent.act(torch.from_numpy(obs).to(agent.device), generator)
        return Decision(action.cpu().numpy())
