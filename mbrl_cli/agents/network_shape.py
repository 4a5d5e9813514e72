"""The shape of stacked networks, as an agent's settings describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from mbrl_cli.errors import UserError
from mbrl_cli.nets.mixed_precision import Precision
from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.nets.stacked_network import StackedNetwork
from mbrl_cli.nets.stacked_residual_mlp import StackedResidualMLP


@dataclass(frozen=True)
class NetworkShape:
    """Everything about a network but its numbers of inputs and outputs.

    Args:
        network: "mlp" or "residual".
        hidden: widths of the hidden layers, or of the residual blocks, which are all equal.
        activation: of the hidden layers.
        layer_norm: whether an MLP normalises its hidden layers; residual networks always do.
        precision: of the hidden layers' matrix products.

    Raises:
        UserError: if residual blocks have different widths.
    """

    network: Literal["mlp", "residual"]
    hidden: Sequence[int]
    activation: str
    layer_norm: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.network == "residual" and len(set(self.hidden)) != 1:
            raise UserError(
                f"agent: hidden={list(self.hidden)}: residual blocks need one width, such as "
                "hidden=[128,128]; or use network=mlp"
            )

    def build(
        self,
        num_members: int,
        in_dim: int,
        out_dim: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> StackedNetwork:
        """Return `num_members` networks with random weights."""
        if self.network == "residual":
            return StackedResidualMLP(
                num_members, in_dim, out_dim, generator, self.hidden[0], len(self.hidden),
                self.activation, device, self.precision,
            )  # fmt: skip
        return StackedMLP(
            num_members, in_dim, out_dim, generator, self.hidden, self.activation,
            self.layer_norm, device, self.precision,
        )  # fmt: skip
