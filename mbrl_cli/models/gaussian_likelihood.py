"""Loss of a Gaussian whose variance is predicted, and bounds on the predicted log variance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bounded_log_variance(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Bound raw log variances smoothly from above and below (PETS, appendix A.1).

        v = high - softplus(high - raw)
        log_variance = low + softplus(v - low)

    Source: Chua et al. 2018, "Deep Reinforcement Learning in a Handful of Trials using
    Probabilistic Dynamics Models".
    """
    log_variance = high - F.softplus(high - raw)
    return low + F.softplus(log_variance - low)


def beta_nll(squared_error: Tensor, log_variance: Tensor, beta: float) -> Tensor:
    """Return the beta-NLL of each entry (Seitzer et al. 2022).

        stop_gradient(variance^beta) * 0.5 * (squared_error / variance + log variance)

    beta = 0 is the negative log-likelihood of a Gaussian without its constant (PETS, section 4,
    loss_Gauss). It explains rare events, such as a blocked move, as noise: a large variance reduces
    the gradient of the mean. With beta = 1 the mean has the gradient of the squared error.

    Source: Seitzer et al. 2022, "On the Pitfalls of Heteroscedastic Uncertainty Estimation with
    Probabilistic Neural Networks".
    """
    nll = 0.5 * (squared_error * torch.exp(-log_variance) + log_variance)
    return nll * torch.exp(beta * log_variance.detach())
