"""Two Q-networks with target networks: clipped double Q-learning (Fujimoto et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mbrl_cli.agents.network_shape import NetworkShape
from mbrl_cli.types import EnvSpec


class TwinCritics:
    """Estimate the value of actions twice; the minimum of both is less overestimated.

    Continuous actions are an input of the networks. For a discrete action a network has one output
    for each choice.

    Axes: n rows, O obs_dim, A action dim (discrete: number of choices).

    Args:
        spec: sizes of the environment.
        shape: of the networks.
        target_rate: update rate of the target networks, an exponential moving average.
        generator: initialises the weights.
        device: where the weights live.

    Attributes:
        network: the two networks.
        targets: the weights of the target networks.
    """

    def __init__(
        self,
        spec: EnvSpec,
        shape: NetworkShape,
        target_rate: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.discrete = spec.action.kind == "discrete"
        inputs = spec.obs_dim if self.discrete else spec.obs_dim + spec.action.dim
        outputs = spec.action.dim if self.discrete else 1
        self.network = shape.build(2, inputs, outputs, generator, device)
        self.target_rate = target_rate
        self.targets = [parameter.clone() for parameter in self.network.detached()]

    def q(self, obs: Tensor, action: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return both critics' values [2, n] of action [n, A] at obs [n, O].

        `weights` are those of the networks, with or without gradient, or those of the targets.
        """
        if self.discrete:
            return (self._outputs(obs, weights) * action).sum(-1)
        return self._outputs(torch.cat([obs, action], dim=-1), weights)[..., 0]

    def min_q(self, obs: Tensor, action: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return the lower critic's value [n] of action [n, A] at obs [n, O]."""
        return self.q(obs, action, weights).amin(0)

    def min_q_of_choices(self, obs: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return the lower critic's value [n, A] of each choice of a discrete action."""
        return self._outputs(obs, weights).amin(0)

    def update_targets(self) -> None:
        """Move the target networks towards the networks."""
        torch._foreach_lerp_(self.targets, self.network.detached(), self.target_rate)

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiply all values, those of the target networks too, by `factor`."""
        last_layers = [*self.network.parameters[-2:], *self.targets[-2:]]
        torch._foreach_mul_(last_layers, factor)

    def _outputs(self, inputs: Tensor, weights: Sequence[Tensor]) -> Tensor:
        return self.network(inputs.expand(2, -1, -1), weights)  # [2, n, outputs]
