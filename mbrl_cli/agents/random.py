"""Random actions: the prefill of every other agent, and the baseline that each must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mbrl_cli.agents.base import Decision
from mbrl_cli.envs.env import Env
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ActionSpec, EnvSpec


class Random:
    """Act uniformly at random and learn nothing."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> _RandomPolicy:
        """Return a policy for these environments; it explores either way."""
        return _RandomPolicy(self.spec.action, len(envs), generator)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Learn nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is nothing to save."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing."""


class _RandomPolicy:
    prediction_horizon = 0
    discount = 1.0

    def __init__(self, action: ActionSpec, num_envs: int, generator: torch.Generator) -> None:
        self.action = action
        self.num_envs = num_envs
        self.generator = generator

    def reset(self) -> None:
        """Forget nothing."""

    def act(self, obs: np.ndarray) -> Decision:
        """Draw actions [B, A]."""
        return Decision(random_actions(self.action, len(obs), self.generator))

    def keep(self, rows: np.ndarray) -> None:
        """Remember nothing of the others."""

    def metrics(self) -> dict[str, float]:
        """Count nothing."""
        return {}


def random_actions(action: ActionSpec, num: int, generator: torch.Generator) -> np.ndarray:
    """Draw `num` encoded actions [num, A] uniformly."""
    device = generator.device
    if action.kind == "continuous":
        uniform = torch.rand(num, action.dim, generator=generator, device=device)
        return (2.0 * uniform - 1.0).cpu().numpy()
    blocks = []
    for size in action.sizes:
        chosen = torch.randint(size, (num,), generator=generator, device=device)
        blocks.append(torch.nn.functional.one_hot(chosen, size).float())
    return torch.cat(blocks, dim=-1).cpu().numpy()
