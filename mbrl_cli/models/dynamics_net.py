"""Networks that predict normalized transitions, and the losses that train them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mbrl_cli.models.gaussian_likelihood import beta_nll, bounded_log_variance
from mbrl_cli.nets.ensemble_mlp import EnsembleMLP
from mbrl_cli.types import EnvSpec

INITIAL_MAX_LOG_VARIANCE, INITIAL_MIN_LOG_VARIANCE = 0.5, -10.0  # as in the code of PETS
BOUNDS_WEIGHT = 0.01  # of the distance between the bounds in the loss, as in the code of PETS


class DynamicsNet(nn.Module):
    """E networks that predict the change of the observation, or the next one, and the reward.

    Inputs and targets are those of `TransitionNormalizer`. A Gaussian head also predicts the
    variance of the observation's target.

    Axes: E members, n rows, O obs_dim, A action dim,
    D outputs of a member: [target O | reward 1 | raw log variance O (Gaussian head only)].

    Attributes:
        max_log_variance: [E, O, 1] upper bound on the log variance, learned as in PETS.
        min_log_variance: [E, O, 1] lower bound.
    """

    def __init__(
        self,
        spec: EnvSpec,
        num_members: int,
        hidden: Sequence[int],
        activation: str,
        gaussian: bool,
        nll_beta: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        """Draw the weights of all members.

        Args:
            spec: the environment. A known reward is not trained.
            num_members: E.
            hidden: widths of the hidden layers.
            activation: key of `ACTIVATIONS`.
            gaussian: whether the head is Gaussian; otherwise it predicts the mean only.
            nll_beta: beta of the loss `beta_nll` of a Gaussian head.
            generator: draws the weights.
            device: of the weights.
        """
        super().__init__()
        self.num_members = num_members
        self.obs_dim = obs_dim = spec.obs_dim
        self.gaussian = gaussian
        self.nll_beta = nll_beta
        self.reward_weight = 1.0 if spec.known_reward is None else 0.0
        self.mlp = EnsembleMLP(
            num_members,
            in_dim=obs_dim + spec.action.dim,
            out_dim=obs_dim * (2 if gaussian else 1) + 1,
            hidden=hidden,
            activation=activation,
            generator=generator,
            device=device,
        )
        shape = (num_members, obs_dim, 1)
        self.max_log_variance = nn.Parameter(
            torch.empty(shape, device=device), requires_grad=gaussian
        )
        self.min_log_variance = nn.Parameter(
            torch.empty(shape, device=device), requires_grad=gaussian
        )
        self._reset_bounds()

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        self.mlp.reset(generator)
        self._reset_bounds()

    @torch.no_grad()
    def _reset_bounds(self) -> None:
        self.max_log_variance.fill_(INITIAL_MAX_LOG_VARIANCE)
        self.min_log_variance.fill_(INITIAL_MIN_LOG_VARIANCE)

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the training loss depends on."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def training_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each member's loss [E]: beta-NLL for a Gaussian head, else the squared error.

        Args:
            inputs: [E, O + A, n].
            targets: [E, O + 1, n].
        """
        if not self.gaussian:
            return self.squared_error_loss(inputs, targets)
        out = self.mlp(inputs)  # [E, D, n]
        squared_error: Tensor = (out[:, : self.obs_dim + 1] - targets).square()  # [E, O + 1, n]
        log_variance = bounded_log_variance(
            out[:, self.obs_dim + 1 :], self.min_log_variance, self.max_log_variance
        )  # [E, O, n]
        loss = beta_nll(squared_error[:, : self.obs_dim], log_variance, self.nll_beta).mean((1, 2))
        # Without this term the likelihood gives the bounds no reason to move (PETS, appendix A.1).
        bounds_distance = (self.max_log_variance - self.min_log_variance).mean((1, 2))
        loss = loss + BOUNDS_WEIGHT * bounds_distance
        return loss + self._reward_loss(squared_error)

    def squared_error_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each member's mean squared error [E], for the shapes of `training_loss`.

        It is also the loss on held-out data for a Gaussian head: on few rows, the likelihood
        depends too much on single large errors.
        """
        mean = self.mlp(inputs)[:, : self.obs_dim + 1]
        squared_error: Tensor = (mean - targets).square()  # [E, O + 1, n]
        observation_loss = squared_error[:, : self.obs_dim].mean((1, 2))  # [E]
        return observation_loss + self._reward_loss(squared_error)

    def _reward_loss(self, squared_error: Tensor) -> Tensor:
        """Return the mean squared error of the reward [E]; 0 if the reward is known."""
        return squared_error[:, -1].mean(1) * self.reward_weight
