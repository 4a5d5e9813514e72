"""Comparison of known reward and termination functions with observed transitions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.types import Batch, EnvSpec

# Allowed relative difference: rewards computed from float32 observations differ in the last digits.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class KnownComparison:
    """A known function and the environment on n transitions.

    Attributes:
        role: reward or termination.
        batch: the transitions.
        known: what the function returns [n].
        observed: what the environment returned [n].
        wrong: [n] bool: whether the two differ by more than rounding.
    """

    role: str
    batch: Batch
    known: Tensor
    observed: Tensor
    wrong: Tensor

    def largest_difference(self) -> float:
        """Return the largest absolute difference; NaN if the function is not finite."""
        return float((self.known - self.observed).abs().max())

    def first_fault(self) -> str | None:
        """Return the text about the first differing transition, or None."""
        if not self.wrong.any():
            return None
        row = int(torch.nonzero(self.wrong)[0])
        transition = ", ".join(
            f"{name} {[round(number, 4) for number in getattr(self.batch, name)[row].tolist()]}"
            for name in ("obs", "action", "next_obs")
        )
        role = self.role
        return (
            f"env.{role}: the known function gives {self.known[row].item():g} where the "
            f"environment gave {self.observed[row].item():g}, at {transition}; use "
            f"env.{role}=learned, or check_known=false to skip this check"
        )


def compare_known_functions(spec: EnvSpec, batch: Batch) -> list[KnownComparison]:
    """Return a comparison for each known function of the environment."""
    inputs = batch.obs, batch.action, batch.next_obs
    found = []
    if spec.known_reward is not None:
        known = spec.known_reward(*inputs).to(batch.reward)  # [n]
        size = batch.reward.abs()
        # Small rewards are compared in their own unit.
        usual = (100.0 * size.max()).clamp_max(1.0) if bool(size.any()) else 1.0
        wrong = (known - batch.reward).abs() > TOLERANCE * (usual + size)
        wrong |= ~known.isfinite()
        found.append(KnownComparison("reward", batch, known, batch.reward, wrong))
    if spec.known_termination is not None:
        known = spec.known_termination(*inputs).to(batch.terminated)  # [n]
        observed = batch.terminated
        found.append(KnownComparison("termination", batch, known, observed, known != observed))
    return found


def check_known_functions(spec: EnvSpec, batch: Batch) -> None:
    """Raise UserError, with the transition, if an exact function differs from the environment."""
    for comparison in compare_known_functions(spec, batch):
        fault = comparison.first_fault()
        if fault is not None and comparison.role not in spec.approximate:
            raise UserError(fault)
