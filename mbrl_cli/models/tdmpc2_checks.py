"""What `TDMPC2` cannot be used for."""

from __future__ import annotations

from mbrl_cli.errors import UserError
from mbrl_cli.nets.sim_norm import GROUPS
from mbrl_cli.types import EnvSpec


def check_spec(spec: EnvSpec) -> None:
    """Raise UserError for actions with several discrete components."""
    if len(spec.action.sizes) > 1:
        raise UserError(
            f"model=TDMPC2: needs continuous actions or one discrete action; {spec.id} has "
            f"{len(spec.action.sizes)} discrete actions: use agent=mpc or agent=dreamer"
        )


def check_groups(saved: str | None) -> None:
    """Raise UserError if the groups of a saved model's latents are not `GROUPS`.

    Args:
        saved: groups that were saved with the model; None: an earlier version saved none.
    """
    if saved != GROUPS:
        raise UserError(
            "model=tdmpc2: an earlier version of mbrl saved this model, and its latents have other "
            "groups; use the version that versions.json in the run's folder names"
        )
