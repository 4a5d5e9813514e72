"""Base class of policies that filter observations with a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mbrl_cli.agents.base import Policy
from mbrl_cli.envs.env import Env
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Planner


class ModelPolicy(Policy):
    """Keep the model's state and the planner's memory of B environments.

    Axes: B environments, A action dim.

    Args:
        model: filters the observations.
        envs: the B environments.
        planner: its memory is passed from one decision to the next; None: there is no planner.
    """

    def __init__(self, model: Model, envs: Sequence[Env], planner: Planner | None = None) -> None:
        self.model = model
        self.all_envs = self.envs = list(envs)
        self.planner = planner

    def reset(self) -> None:
        """Start new episodes: initial state and memory, no previous action."""
        self.envs = self.all_envs
        num_envs = len(self.envs)
        self.memory = {} if self.planner is None else self.planner.initial_memory(num_envs)
        self.state = self.model.initial(num_envs)
        action_dim = self.model.spec.action.dim
        self.action = torch.zeros(num_envs, action_dim, device=self.model.device)  # [B, A]

    def observe(self, obs: np.ndarray) -> None:
        """Update the state with obs [B, O], to which the last action led."""
        obs_on_device = torch.from_numpy(obs).to(self.model.device)
        self.state = self.model.observe(self.state, self.action, obs_on_device, self.envs)

    def retain(self, rows: np.ndarray) -> None:
        """Continue with the environments at `rows` only."""
        index = torch.from_numpy(rows).to(self.action.device)
        self.envs = [self.envs[row] for row in rows]
        self.memory = {key: value[index] for key, value in self.memory.items()}
        self.state = {key: value[index] for key, value in self.state.items()}
        self.action = self.action[index]
