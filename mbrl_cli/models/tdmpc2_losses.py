"""Losses of TD-MPC2 (Hansen et al. 2024, section 3.1), each a weighted sum over steps of sequences.

The paper's model objective sums the first three: `consistency_loss` is its joint-embedding
prediction, `reward_loss` its reward prediction, `value_loss` its value prediction with the target
q_t, an n-step return. `policy_loss` is the negative of the paper's policy objective.
`continue_loss` is not in the paper.

Notation: lambda -> rho (as in the authors' configuration), alpha / S -> 1 / value_range, beta ->
entropy_scale.

Axes: H steps, n sequences, D latent, E critics, K bins of a two-hot distribution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.nets.two_hot import TwoHot


def step_weights(mask: Tensor, rho: float) -> Tensor:
    """Return the weight rho^t / (H n) of each step [H, n]; 0 where the mask is 0."""
    horizon, num = mask.shape
    decay = rho ** torch.arange(horizon, device=mask.device)  # [H]
    return mask * decay[:, None] / (horizon * num)


def consistency_loss(latent: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the squared error of predicted latents, a mean over their entries.

    Args:
        latent: latents after each imagined step [H, n, D].
        target: latents that the encoder gives for the real observations there [H, n, D].
        weight: of the steps [H, n].
    """
    return (weight * (latent - target).square().mean(-1)).sum()


def reward_loss(two_hot: TwoHot, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the cross entropy of the predicted [H, n, K] and the real reward [H, n]."""
    return (weight * two_hot.loss(logits, target)).sum()


def value_loss(two_hot: TwoHot, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the cross entropy of the values and their TD target, a mean over the critics.

    Args:
        two_hot: encodes the targets.
        logits: of the critics [E, H, n, K].
        target: TD targets of the critics [H, n].
        weight: of the steps [H, n].
    """
    return (weight * two_hot.loss(logits, target.expand(logits.shape[:-1])).mean(0)).sum()


def continue_loss(logits: Tensor, terminated: Tensor, mask: Tensor) -> Tensor:
    """Return the mean cross entropy of the probability to continue after a step [H, n]."""
    errors = F.binary_cross_entropy_with_logits(logits, 1.0 - terminated, reduction="none")
    return (mask * errors).mean()


def policy_loss(
    value: Tensor, entropy: Tensor, weight: Tensor, value_range: Tensor, entropy_scale: float
) -> Tensor:
    """Return minus the policy's value and entropy.

    Args:
        value: of the policy's actions at imagined states [H + 1, n].
        entropy: of the policy there [H + 1, n].
        weight: of the states [H + 1, n].
        value_range: divisor of the values, see `ValueRange`.
        entropy_scale: weight of the entropy.
    """
    return -(weight * (value / value_range + entropy_scale * entropy)).sum()
