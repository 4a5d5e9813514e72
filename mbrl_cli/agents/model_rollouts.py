"""Rollouts of a policy in a model, from real states (Janner et al. 2019, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mbrl_cli.models.base import Model
from mbrl_cli.replay.imagined import ImaginedBuffer
from mbrl_cli.types import Batch


@torch.no_grad()
def store_model_rollouts(
    model: Model,
    act: Callable[[Tensor], Tensor],
    start_obs: Tensor,
    length: int,
    buffer: ImaginedBuffer,
    generator: torch.Generator,
) -> Tensor:
    """Roll out a policy in the model, store the transitions, return how many were not finite.

    A rollout stops at a termination, which is sampled with the probability that the model predicts,
    and at a transition that is not finite, which is not stored. The last step of a rollout is not a
    termination: it is stored like a time limit.

    Axes: S start states, P particles (each is a rollout of its own), O obs_dim, A action dim.

    Args:
        model: a Markov model; see `Model.state_source`.
        act: maps observations [n, O] to the policy's actions [n, A].
        start_obs: real observations [S, O].
        length: steps of a rollout, at most.
        buffer: stores the transitions.
        generator: source of the model's random numbers and of the terminations; on the CPU.
    """
    num_starts, device = len(start_obs), start_obs.device
    no_action = torch.zeros(num_starts, model.spec.action.dim, device=device)
    state = model.observe(model.initial(num_starts), no_action, start_obs)
    state = model.branch(state, num_plans=1)
    obs = model.decode(state)  # [S, P, O]
    active = torch.ones(obs.shape[:2], dtype=torch.bool, device=device)  # [S, P]
    num_nonfinite = torch.zeros((), device=device)
    for _ in range(length):
        action = act(obs.flatten(0, 1)).view(*obs.shape[:2], -1)  # [S, P, A]
        state, reward, continues = model.step(state, action, generator)
        next_obs = model.decode(state)
        uniform = torch.rand(reward.shape, generator=generator).to(device)
        terminated = uniform >= continues  # [S, P]
        finite = next_obs.isfinite().all(-1) & reward.isfinite()
        num_nonfinite += (active & ~finite).sum()
        active = active & finite
        fields = (obs, action, reward, next_obs, terminated.float())
        buffer.add(Batch(*(field[active] for field in fields)))
        active = active & ~terminated
        obs = next_obs
    return num_nonfinite
