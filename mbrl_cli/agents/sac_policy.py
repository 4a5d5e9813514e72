"""How soft actor-critic acts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.assessed_weights import AssessedWeights
from mbrl_cli.agents.base import Decision, Policy


class SACPolicy(Policy):
    """Sample actions if it explores, else take the mode; of the weights that are to act now.

    Axes: B environments, O obs_dim, A action dim.

    Args:
        act: maps obs [B, O] to actions [B, A], samples if it is given a generator.
        assessed: the weights that are to act.
        explore: whether the policy collects data.
        generator: of the samples.
        device: of obs.
    """

    def __init__(
        self,
        act: Callable[[Tensor, torch.Generator | None], Tensor],
        assessed: AssessedWeights,
        explore: bool,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self._act = act
        self.assessed = assessed
        self.explore = explore
        self.generator = generator
        self.device = device

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Return actions for obs [B, O]."""
        generator = self.generator if self.explore and self.assessed.explores else None
        with self.assessed.acting() if self.explore else self.assessed.best():
            action = self._act(torch.from_numpy(obs).to(self.device), generator)
        return Decision(action.cpu().numpy())
