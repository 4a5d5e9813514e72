"""Which environments soft actor-critic can be used in."""

from __future__ import annotations

from mbrl_cli.errors import UserError
from mbrl_cli.types import EnvSpec


def check_spec(spec: EnvSpec) -> None:
    """Raise UserError if SAC cannot be used in this environment."""
    num_choices = len(spec.action.sizes)
    if num_choices > 1:
        raise UserError(
            f"agent: SAC needs continuous actions or one discrete action, and {spec.id} has "
            f"{num_choices} discrete actions per step; use agent=mpc agent.terminal_value=false"
        )
    if spec.obs_shape is not None:
        raise UserError(
            f"agent: SAC needs vector observations, and {spec.id} observes images "
            f"{list(spec.obs_shape)}; use agent=dreamer"
        )
