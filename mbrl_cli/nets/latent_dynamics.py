"""Dynamics, prior and posterior of a latent state (RSSM: PlaNet, Hafner et al. 2019; DreamerV3).

The state has a deterministic part, carried by a gated recurrent unit with LayerNorm, and a
stochastic part, sampled from the prior (in imagination) or from the posterior (given an
observation).

Notation of the papers: h -> deter, z -> stoch, x -> obs, e -> embedded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.nets.filter_weights import FilterWeights, PosteriorWeights
from mbrl_cli.nets.initialization import uniform_weight
from mbrl_cli.nets.latent_filter import FilteredStates, LatentFilter
from mbrl_cli.nets.latents import Latents
from mbrl_cli.nets.mixed_precision import mixed_precision
from mbrl_cli.nets.norm_mlp import NormMLP
from mbrl_cli.nets.recurrent_cell import CellWeights, next_deter


class LatentDynamics(nn.Module):
    """Map a state (deter, stoch) and an action to the next deter, and deter to stoch's statistics.

    Without recurrence deter is a function of the last stoch and action alone, so that the latent
    state is Markov.

    Axes: T steps of a sequence, n sequences, H hidden, D deter, Z stoch, U statistics, A action
    dim, E embedded_dim.
    """

    def __init__(
        self,
        latents: Latents,
        embedded_dim: int,
        action_dim: int,
        generator: torch.Generator,
        deter: int = 128,
        hidden: int = 64,
        recurrent: bool = True,
    ) -> None:
        super().__init__()
        self.latents = latents
        self.deter = deter
        self.recurrent = recurrent
        # Columns for stoch, then for the action: `filter_sequence` multiplies them separately.
        self.input = uniform_weight(hidden, latents.size + action_dim, generator)
        self.input_scale, self.input_shift = _layer_norm(hidden)
        num_gates = 3 if recurrent else 1
        gates_in = hidden + deter if recurrent else hidden
        self.gates = uniform_weight(num_gates * deter, gates_in, generator)
        self.gates_scale, self.gates_shift = _layer_norm(num_gates * deter)
        statistics = latents.num_statistics
        self.prior_net = NormMLP(deter, statistics, generator, hidden, layers=1)
        self.posterior_net = NormMLP(deter + embedded_dim, statistics, generator, hidden, layers=1)

    @mixed_precision
    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """Return the next deter [..., D] after an action [..., A]."""
        product = F.linear(torch.cat([stoch, action], -1), self.input)  # [..., H]
        return next_deter(deter, product, self._cell_weights(), self.recurrent)

    def prior(self, deter: Tensor) -> Tensor:
        """Return the prior's statistics [..., U] for deter [..., D]."""
        return self.prior_net(deter)  # type: ignore[no-any-return]

    def posterior(self, deter: Tensor, embedded: Tensor) -> Tensor:
        """Return the posterior's statistics [..., U] for deter [..., D] and embedded [..., E]."""
        return self.posterior_net(torch.cat([deter, embedded], -1))  # type: ignore[no-any-return]

    def filter_sequence(
        self,
        embedded: Tensor,
        action: Tensor,
        first: Tensor,
        restarts: Sequence[bool],
        noise: Tensor,
    ) -> FilteredStates:
        """Return the posterior states of sequences of observations.

        Args:
            embedded: encoded observations [T, n, E].
            action: the action that led to each observation [T, n, A].
            first: whether it is the first of an episode [T, n], before which the state is zero; at
                T = 0 always true.
            restarts: for each step, whether `first` is true in any sequence [T].
            noise: random numbers of the posterior's samples, leading axes [T, n].
        """
        not_first = 1.0 - first.float()[..., None]  # [T, n, 1]
        # Products that do not depend on the step before are computed for all steps at once.
        action_weight = self.input[:, self.latents.size :]
        action_product = F.linear(action * not_first, action_weight)  # [T, n, H]
        net = self.posterior_net
        hidden_weight = net.weights[0]  # [H, D + E]
        obs_product = F.linear(embedded, hidden_weight[:, self.deter :])  # [T, n, H]
        posterior = PosteriorWeights(
            hidden_weight[:, : self.deter], net.scales[0], net.shifts[0], net.out, net.bias
        )
        weights = FilterWeights(self._cell_weights(), posterior)
        states = LatentFilter.apply(  # type: ignore[no-untyped-call]
            self.latents, self.recurrent, restarts, action_product, obs_product, not_first, noise,
            *weights.flat(),
        )  # fmt: skip
        return FilteredStates(*states)

    def _cell_weights(self) -> CellWeights:
        return CellWeights(
            self.input[:, : self.latents.size], self.input_scale, self.input_shift,
            self.gates, self.gates_scale, self.gates_shift,
        )  # fmt: skip


def _layer_norm(size: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return the initial scale and shift of a LayerNorm."""
    return nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
