"""Losses of a recurrent state-space model (DreamerV3, Hafner et al. 2023, "World Model Learning").

The total is L = L_pred + beta_dyn L_dyn + beta_rep L_rep, where L_pred is the sum of
`observation_loss` (with a weight that is 1 in the paper), the two-hot loss of the reward and
`continue_loss`.

Axes: T steps, n sequences, O obs_dim, U statistics of the latents.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.nets.latents import Latents

# Names of the logged losses of one gradient step; train_loss is the total.
LOSSES = ("train_loss", "obs_loss", "reward_loss", "continue_loss", "kl", "latent_entropy")


class KLLosses(NamedTuple):
    """Both KL losses and the plain KL, means over steps and sequences."""

    dynamics: Tensor  # L_dyn trains the prior towards the posterior
    representation: Tensor  # L_rep keeps the posterior predictable
    kl: Tensor  # KL(posterior || prior) in nats, without gradient


def observation_loss(decoded: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of decoded observations [T, n, O], summed over O, as a mean."""
    return (decoded - target).square().sum(-1).mean()


def continue_loss(logits: Tensor, terminated: Tensor) -> Tensor:
    """Return the mean cross entropy of the logits [T, n] that the task continues."""
    return F.binary_cross_entropy_with_logits(logits, 1.0 - terminated)


def kl_losses(latents: Latents, posterior: Tensor, prior: Tensor, free_nats: float) -> KLLosses:
    """Return the KL losses for the statistics [T, n, U] of posterior and prior.

    Both are max(free_nats, KL(posterior || prior)), so a KL below `free_nats` has no gradient. One
    takes the posterior as a constant, the other the prior.
    """
    to_prior = latents.kl(posterior.detach(), prior)  # [T, n]
    to_posterior = latents.kl(posterior, prior.detach())  # [T, n]
    return KLLosses(
        to_prior.clamp_min(free_nats).mean(),
        to_posterior.clamp_min(free_nats).mean(),
        to_prior.detach().mean(),
    )
