"""Losses of MuZero, each a weighted sum over the states or steps of unrolled sequences.

Sources: Schrittwieser et al. 2020 (MuZero), equation 1: l^p, l^v and l^r are `policy_loss`,
`value_loss` and `reward_loss`. Ye et al. 2021 (EfficientZero), section 4.1: `consistency_loss`.

Axes: n sequences of K + 1 states and K steps, A actions, D latent, bins of a two-hot distribution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.nets.two_hot import TwoHot


def policy_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the cross entropy of the policy and the search's policy (MuZero, l^p in equation 1).

    Args:
        logits: of the predicted policy [n, K+1, A].
        target: policy that the search recommends [n, K+1, A].
        weight: of the states [n, K+1].
    """
    return -(weight * (target * F.log_softmax(logits, dim=-1)).sum(-1)).sum()


def value_loss(two_hot: TwoHot, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the cross entropy of the value and its n-step target (MuZero, l^v in equation 1).

    Args:
        two_hot: encodes the targets.
        logits: of the predicted value [n, K+1, bins].
        target: [n, K+1].
        weight: of the states [n, K+1].
    """
    return (weight * two_hot.loss(logits, target)).sum()


def reward_loss(two_hot: TwoHot, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the cross entropy of the predicted and the real reward (MuZero, l^r in equation 1).

    Args:
        two_hot: encodes the targets.
        logits: of the predicted reward [n, K, bins].
        target: [n, K].
        weight: of the steps [n, K].
    """
    return (weight * two_hot.loss(logits, target)).sum()


def continues_loss(logits: Tensor, terminated: Tensor, weight: Tensor) -> Tensor:
    """Return the cross entropy of the probability that the episode continues after a step.

    Args:
        logits: of that probability [n, K].
        terminated: whether the step terminated the episode [n, K].
        weight: of the steps [n, K].
    """
    errors = F.binary_cross_entropy_with_logits(logits, 1.0 - terminated, reduction="none")
    return (weight * errors).sum()


def consistency_loss(latent: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return 1 - cosine similarity of unrolled and encoded latents (EfficientZero, section 4.1).

    Args:
        latent: latents after each unrolled step [n, K, D].
        target: latents that the target network encodes from the real observations [n, K, D].
        weight: of the states [n, K].
    """
    return (weight * (1.0 - F.cosine_similarity(latent, target, dim=-1))).sum()
