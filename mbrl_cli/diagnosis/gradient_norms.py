"""Size of the gradients in the last updates of a run.

AdamW keeps a moving average of the squared gradients with the rate 0.001. The root of its sum is
the root mean square norm over about the last 1,000 updates, so nothing is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from mbrl_cli.agents.alphazero import AlphaZero
from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.dreamer import Dreamer
from mbrl_cli.agents.tdmpc2_agent import TDMPC2Agent
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.saved_values import soft_actor_critic
from mbrl_cli.models.rssm import RSSM
from mbrl_cli.nets.adamw import BETAS, AdamW

CLIPPED = 0.9  # of the largest norm: nearly every gradient is clipped


class GradientNorm(NamedTuple):
    """Gradients of one network.

    Attributes:
        name: of the network.
        norm: root mean square over about the last 1,000 updates, after clipping.
        limit: norm at which gradients are clipped; None: they are not clipped.
    """

    name: str
    norm: float
    limit: float | None


def gradient_norms(agent: Agent) -> list[GradientNorm]:
    """Return the norms of all networks that are trained step by step and have been updated."""
    groups: list[tuple[str, Sequence[AdamW], float | None]] = []
    sac = soft_actor_critic(agent)
    if sac is not None:
        groups.append(("actor", [sac.actor_optimiser], None))
        groups.append(("critics", [sac.critic_optimiser], None))
    if isinstance(agent, Dreamer):
        learner = agent.learner
        groups.append(("actor", [learner.actor_optimiser], learner.max_grad_norm))
        groups.append(("critic", [learner.critic_optimiser], learner.max_grad_norm))
    if isinstance(agent, TDMPC2Agent):
        model, actor = agent.model, agent.actor
        both = [model.encoder_optimiser, model.optimiser]  # clipped together
        groups.append(("model and critics", both, model.max_grad_norm))
        groups.append(("policy", [actor.optimiser], actor.max_grad_norm))
    world_model = getattr(agent, "model", None)
    if isinstance(world_model, RSSM):
        groups.append(("model", [world_model.optimiser], world_model.max_grad_norm))
    if isinstance(agent, AlphaZero):
        groups.append(("networks", [agent.network.optimiser], None))
    norms = [(name, _norm(optimisers), limit) for name, optimisers, limit in groups]
    return [GradientNorm(name, norm, limit) for name, norm, limit in norms if norm is not None]


@torch.no_grad()
def _norm(optimisers: Sequence[AdamW]) -> float | None:
    """Return the joint norm; None before the first update."""
    total = 0.0
    for optimiser in optimisers:
        steps = float(optimiser.steps[0])
        if not steps:
            return None
        squares = sum(float(square.double().sum()) for square in optimiser.squares)
        total += squares / (1.0 - BETAS[1] ** steps)
    return math.sqrt(total)


def gradient_finding(norms: Sequence[GradientNorm]) -> Finding:
    """Return what the norms mean.

    Args:
        norms: of at least one network.
    """
    still = [norm.name for norm in norms if norm.norm == 0.0]
    if still:
        text = f"the last gradients of {' and '.join(still)} were 0: nothing is learned there"
        return Finding("gradient_norms", "note", text)
    clipped = [n for n in norms if n.limit is not None and n.norm >= CLIPPED * n.limit]
    if clipped:
        worst = clipped[0]
        text = (
            f"nearly all gradients of the {worst.name} were clipped: their root mean square norm "
            f"is {worst.norm:.3g}, the largest norm is {worst.limit:g}"
        )
        return Finding("gradient_norms", "note", text, 0.9)
    sizes = ", ".join(f"{norm.name} {norm.norm:.3g}" for norm in norms)
    return Finding("gradient_norms", "fine", f"root mean square norms of the last updates: {sizes}")
