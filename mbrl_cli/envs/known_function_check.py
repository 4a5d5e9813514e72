"""Known reward and termination functions held against what the environment really did."""

from __future__ import annotations

import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.types import Batch, EnvSpec

TOLERANCE = 1e-3  # observations are float32: rewards computed from them differ in late digits


def check_known_functions(spec: EnvSpec, batch: Batch) -> None:
    """Raise UserError, showing the transition, where a known function is not what happened."""
    given = batch.obs, batch.action, batch.next_obs
    if spec.known_reward is not None:
        known = spec.known_reward(*given).to(batch.reward)  # [n]
        wrong = (known - batch.reward).abs() > TOLERANCE * (1.0 + batch.reward.abs())
        _refuse("reward", batch, known, batch.reward, wrong | ~known.isfinite())
    if spec.known_termination is not None:
        ended = spec.known_termination(*given).to(batch.terminated)  # [n]
        _refuse("termination", batch, ended, batch.terminated, ended != batch.terminated)


def _refuse(role: str, batch: Batch, known: Tensor, real: Tensor, wrong: Tensor) -> None:
    if not wrong.any():
        return
    row = int(torch.nonzero(wrong)[0])
    shown = ", ".join(
        f"{name} {[round(number, 4) for number in getattr(batch, name)[row].tolist()]}"
        for name in ("obs", "action", "next_obs")
    )
    raise UserError(
        f"env.{role}: the known function gives {known[row].item():g} where the environment gave "
        f"{real[row].item():g}, at {shown}; use env.{role}=learned, or check_known=false to go on"
    )
