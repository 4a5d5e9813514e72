"""How a latent state moves, seen and unseen (RSSM: PlaNet, Hafner et al. 2019; DreamerV3, 2023).

The state has a deterministic part, carried by a gated recurrent unit with LayerNorm, and a
stochastic one, drawn from the prior (imagined) or from the posterior (with the observation).

Notation of the papers: h -> deter, z -> stoch, x -> obs, e -> embedded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.nets.categorical_latents import CategoricalLatents
from mbrl_cli.nets.gaussian_latents import GaussianLatents
from mbrl_cli.nets.latent_filter import LatentFilter, fast_tanh
from mbrl_cli.nets.norm_mlp import NormMLP, drawn
from mbrl_cli.nets.speed import narrowable

Latents = CategoricalLatents | GaussianLatents


class LatentDynamics(nn.Module):
    """Move (deter, stoch) with an action; say what stoch may be, with and without looking.

    Without the recurrent part deter is a function of the last stoch and action alone: the latent
    state is then Markov.

    Axes: T steps of a sequence, n sequences, D deter, Z stoch, A action dim.
    """

    def __init__(
        self,
        latents: Latents,
        embedded_dim: int,
        action_dim: int,
        deter: int,
        hidden: int,
        recurrent: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.latents = latents
        self.deter = deter
        self.recurrent = recurrent
        # One product for stoch and action; columns of the action are used apart in sequences.
        self.enter = drawn(hidden, latents.size + action_dim, generator)
        self.enter_scale, self.enter_shift = _norm(hidden)
        gates = 3 if recurrent else 1
        inputs = hidden + deter if recurrent else hidden
        self.gates = drawn(gates * deter, inputs, generator)
        self.gates_scale, self.gates_shift = _norm(gates * deter)
        self.prior = NormMLP(deter, latents.num_statistics, hidden, 1, generator)
        self.posterior = NormMLP(deter + embedded_dim, latents.num_statistics, hidden, 1, generator)

    @narrowable
    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """Return the next deter [..., D] after an action [..., A]."""
        return self.next_deter(deter, F.linear(torch.cat([stoch, action], -1), self.enter))

    def look(self, deter: Tensor, embedded: Tensor) -> Tensor:
        """Return the posterior's statistics for deter [..., D] and an embedded observation."""
        return self.posterior(torch.cat([deter, embedded], -1))  # type: ignore[no-any-return]

    def sequence(
        self,
        embedded: Tensor,
        action: Tensor,
        first: Tensor,
        restarts: Sequence[bool],
        noise: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Filter sequences of observations.

        Args:
            embedded: observations [T, n, E].
            action: what led to each [T, n, A].
            first: whether it is an episode's first [T, n], with nothing before it; at T = 0 always.
            restarts: whether any of `first` holds, for each step.
            noise: for the posterior's samples, leading axes [T, n].

        Returns:
            deter [T, n, D], stoch [T, n, Z] and the posterior's statistics [T, n, .].
        """
        keep = 1.0 - first.float()[..., None]  # [T, n, 1]
        size = self.latents.size
        # What does not wait for the step before is computed for all steps at once.
        from_action = F.linear(action * keep, self.enter[:, size:])
        weight = self.posterior.weights[0]
        from_obs = F.linear(embedded, weight[:, self.deter :])
        weights = (
            self.enter[:, :size], self.enter_scale, self.enter_shift,
            self.gates, self.gates_scale, self.gates_shift,
            weight[:, : self.deter], self.posterior.scales[0], self.posterior.shifts[0],
            self.posterior.out, self.posterior.bias,
        )  # fmt: skip
        return LatentFilter.apply(self, from_action, from_obs, keep, restarts, noise, *weights)  # type: ignore[no-any-return, no-untyped-call]

    def next_deter(self, deter: Tensor, entered: Tensor) -> Tensor:
        """Return the next deter [..., D] for the product of stoch and action [..., hidden]."""
        in_place = not torch.is_grad_enabled()
        entered = F.layer_norm(entered, entered.shape[-1:], self.enter_scale, self.enter_shift)
        x = F.silu(entered, inplace=in_place)
        if self.recurrent:
            x = torch.cat([x, deter], -1)
        gates = F.linear(x, self.gates)
        gates = F.layer_norm(gates, gates.shape[-1:], self.gates_scale, self.gates_shift)
        gates = gates.to(deter.dtype)  # what is carried on stays exact
        if not self.recurrent:
            return F.silu(gates, inplace=in_place)
        reset, candidate, update = gates.chunk(3, -1)
        candidate = fast_tanh(torch.sigmoid(reset) * candidate)
        # The shift by one lets an untrained unit remember (DreamerV2).
        return torch.lerp(deter, candidate, torch.sigmoid(update - 1.0))


def _norm(size: int) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
