"""Losses of soft actor-critic.

Equation numbers are those of Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications",
and of Christodoulou 2019, "Soft Actor-Critic for Discrete Action Settings". Both papers share these
losses once the policy's expected Q-value E[Q] and its entropy H are known.

Notation: alpha -> temperature, gamma -> discount, H-bar -> target_entropy, V = E[Q] + alpha H.

Axes: n rows of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def td_targets(
    reward: Tensor,
    discount: Tensor,
    next_q: Tensor,
    next_entropy: Tensor,
    temperature: Tensor,
) -> Tensor:
    """Return the TD targets [n] of the critics: r + discount V(s').

    V is equation 3 of Haarnoja et al. and equation 10 of Christodoulou. A step that is truncated
    by a time limit is not terminated, so its next state is valued.

    Args:
        reward: sum of the rewards before s', [n].
        discount: of the value of s', [n]; 0 after a termination.
        next_q: E[Q] of the target critics at s', [n].
        next_entropy: entropy of the policy at s', [n].
        temperature: scalar.
    """
    next_value = next_q + temperature * next_entropy
    return torch.addcmul(reward, discount, next_value)


def critic_loss(q: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of both critics [2, n] to the TD targets [n] (equation 5)."""
    return 0.5 * (q - targets).square().mean(1).sum()


def actor_loss(q: Tensor, entropy: Tensor, temperature: Tensor) -> Tensor:
    """Return the mean of -(E[Q] + alpha H) (equation 7; Christodoulou, equation 12).

    Args:
        q: E[Q] of the critics, [n]; its gradient reaches the policy alone.
        entropy: of the policy, [n].
        temperature: scalar without gradient.
    """
    return -(q + temperature * entropy).mean()


def temperature_loss(
    log_temperature: Tensor, mean_entropy: Tensor, target_entropy: float
) -> Tensor:
    """Return log(alpha) (H - H-bar), whose gradient drives the entropy H to its target.

    Equation 18 (Christodoulou, equation 11) with log(alpha) in the place of alpha, as in
    stable-baselines3.
    """
    return log_temperature * (mean_entropy - target_entropy)
