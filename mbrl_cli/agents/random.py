"""Uniformly random actions: the prefill of all agents, and a baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mbrl_cli.agents.base import Agent, Decision, Policy
from mbrl_cli.envs.env import Env
from mbrl_cli.types import ActionSpec, Count, EnvSpec


class Random(Agent):
    """Take uniformly random actions; there is nothing to learn.

    Args:
        spec: the environment.
        hold: steps for which an action is held, from the start of an episode on.
    """

    def __init__(self, spec: EnvSpec, hold: Count = 1) -> None:
        self.spec = spec
        self.hold = hold

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> _RandomPolicy:
        """Return a policy of uniformly random actions; `explore` makes no difference."""
        return _RandomPolicy(self.spec.action, generator, self.hold)


class _RandomPolicy(Policy):
    def __init__(self, action: ActionSpec, generator: torch.Generator, hold: int) -> None:
        self.action = action
        self.generator = generator
        self.hold = hold
        self.reset()

    def reset(self) -> None:
        """Start new episodes."""
        self.step = 0
        self.held = np.zeros(0)  # [B, A]

    def act(self, obs: np.ndarray) -> Decision:
        """Return random actions [B, A], or those of the step before."""
        if self.step % self.hold == 0:
            self.held = random_actions(self.action, len(obs), self.generator)
        self.step += 1
        return Decision(self.held)

    def retain(self, rows: np.ndarray) -> None:
        """Continue with the environments at `rows` only."""
        self.held = self.held[rows]


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
