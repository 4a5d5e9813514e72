"""Comparison of known reward and termination functions with observed transitions."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.types import Batch, EnvSpec

# Allowed relative difference: rewards computed from float32 observations differ in the last digits.
TOLERANCE = 1e-3


def check_known_functions(spec: EnvSpec, batch: Batch) -> None:
    """Raise UserError, with the transition, if an exact function differs from the environment."""
    inputs = batch.obs, batch.action, batch.next_obs
    if spec.known_reward is not None and "reward" not in spec.approximate:
        known = spec.known_reward(*inputs).to(batch.reward)  # [n]
        size = batch.reward.abs()
        # Small rewards are compared in their own unit.
        usual = (100.0 * size.max()).clamp_max(1.0) if bool(size.any()) else 1.0
        wrong = (known - batch.reward).abs() > TOLERANCE * (usual + size)
        _raise_if_wrong("reward", batch, known, batch.reward, wrong | ~known.isfinite())
    if spec.known_termination is not None and "termination" not in spec.approximate:
        known = spec.known_termination(*inputs).to(batch.terminated)  # [n]
        _raise_if_wrong("termination", batch, known, batch.terminated, known != batch.terminated)


def _raise_if_wrong(
    role: str, batch: Batch, known: Tensor, observed: Tensor, wrong: Tensor
) -> None:
    if not wrong.any():
        return
    row = int(torch.nonzero(wrong)[0])
    transition = ", ".join(
        f"{name} {[round(number, 4) for number in getattr(batch, name)[row].tolist()]}"
        for name in ("obs", "action", "next_obs")
    )
    raise UserError(
        f"env.{role}: the known function gives {known[row].item():g} where the environment gave "
        f"{observed[row].item():g}, at {transition}; use env.{role}=learned, or check_known=false "
        "to skip this check"
    )
