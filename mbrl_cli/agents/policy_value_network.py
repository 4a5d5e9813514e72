"""The contract of the networks that guide a tree search."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from mbrl_cli.models.search_targets import SearchTargets
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import State


class PolicyValueNetwork(Protocol):
    """Predict policy and value of imagined states, and learn both from searches.

    It is either a model that has these heads itself (`MuZero`), or a network of observations beside
    a Markov model (`PolicyValueMLP`).

    Axes: M rows, P particles, A actions, n observations, O obs_dim.

    Attributes:
        unroll_steps: K, the real actions along which `learn` unrolls the model; 0: it does not.
        optimiser: of all trained weights.
    """

    unroll_steps: int
    optimiser: AdamW

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses that `learn` returns."""
        ...

    def value(self, state: State) -> Tensor:
        """Return the value [M, P] of imagined states."""
        ...

    def prior(self, state: State) -> Tensor:
        """Return the policy's probabilities [M, A] in imagined states."""
        ...

    def target_value(self, obs: Tensor) -> Tensor:
        """Return the target network's value [n] of obs [n, O]."""
        ...

    def refit_scales(self, replay: ReplayBuffer) -> None:
        """Fit the scales of observations and rewards again if they are outdated."""
        ...

    def learn(self, targets: SearchTargets) -> Tensor:
        """Take one gradient step; return the losses, in the order of `losses`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that was learned."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        ...
