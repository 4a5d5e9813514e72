"""Uniformly random actions: the prefill of all agents, and a baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mbrl_cli.agents.base import Agent, Decision, Policy
from mbrl_cli.envs.env import Env
from mbrl_cli.types import ActionSpec, EnvSpec


class Random(Agent):
    """Take uniformly random actions; there is nothing to learn."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> _RandomPolicy:
        """Return a policy of uniformly random actions; `explore` makes no difference."""
        return _RandomPolicy(self.spec.action, generator)


class _RandomPolicy(Policy):
    def __init__(self, action: ActionSpec, generator: torch.Generator) -> None:
        self.action = action
        self.generator = generator

    def act(self, obs: np.ndarray) -> Decision:
        """Return random actions [B, A]."""
        return Decision(random_actions(self.action, len(obs), self.generator))


def random_actions(action: ActionSpec, num: int, generator: torch.Generator) -> np.ndarray:
    """Return `num` uniformly random encoded actions [num, A]."""
    device = generator.device
    if action.kind == "continuous":
        uniform = torch.rand(num, action.dim, generator=generator, device=device)
        return (2.0 * uniform - 1.0).cpu().numpy()
    blocks = []
    for size in action.sizes:
        chosen = torch.randint(size, (num,), generator=generator, device=device)
        blocks.append(torch.nn.functional.one_hot(chosen, size).float())
    return torch.cat(blocks, dim=-1).cpu().numpy()
