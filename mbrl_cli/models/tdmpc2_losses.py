"""Losses of TD-MPC2 (Hansen et al. 2024, section 3.1), each a weighted sum over steps of sequences.

The paper's model objective sums the first three: `consistency_loss` is its joint-embedding
prediction, `reward_loss` its reward prediction, `value_loss` its value prediction with the target
q_t of `td_targets`. `policy_loss` is the negative of the paper's policy objective. `continue_loss`
is not in the paper.

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


def td_targets(
    reward: Tensor,
    terminated: Tensor,
    next_value: Tensor,
    mask: Tensor,
    discount: float,
    td_lambda: float,
) -> Tensor:
    """Return the TD(lambda) targets q_t [H, n] of the critics.

    q_t = r_t + discount ((1 - lambda) v_{t+1} + lambda q_{t+1}). Nothing follows a termination, and
    v_{t+1} alone follows the last step of the sequence or of its episode. In the paper lambda is 0.

    Args:
        reward: r_t [H, n].
        terminated: whether the step terminates the task [H, n].
        next_value: v_{t+1}, of the state after each step [H, n].
        mask: 1 while the step belongs to the episode [H, n].
        discount: per step.
        td_lambda: 0 takes the value after every step, 1 only after the last one.
    """
    decay = discount * (1.0 - terminated)
    targets = reward + decay * next_value
    for step in reversed(range(len(reward) - 1)):
        following = torch.lerp(next_value[step], targets[step + 1], td_lambda * mask[step + 1])
        targets[step] = reward[step] + decay[step] * following
    return targets


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
        target: see `td_targets` [H, n].
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
