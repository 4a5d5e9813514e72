"""The checkpoint from which a run is forked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mbrl_cli.checkpoint import SUFFIX
from mbrl_cli.checkpoint_store import load_checked, newest_first
from mbrl_cli.errors import UserError
from mbrl_cli.run_files import CHECKPOINTS

MAX_LISTED = 8  # steps that an error text names


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the environment steps of the checkpoints of a run, in increasing order."""
    return sorted(int(path.name.removesuffix(SUFFIX)) for path in newest_first(folder))


def load_checkpoint_at(folder: Path, env_step: int) -> dict[str, Any]:
    """Return the checkpoint of this environment step.

    Raises:
        UserError: if there is none, with the steps that have one, or if it is damaged.
    """
    steps = checkpoint_steps(folder)
    if env_step not in steps:
        raise UserError(f"at={env_step}: {describe_checkpoints(folder, steps, env_step)}")
    return load_checked(folder / CHECKPOINTS / f"{env_step:010d}{SUFFIX}")


def describe_checkpoints(folder: Path, steps: Sequence[int], near: int | None = None) -> str:
    """Return the end of an error text: which steps of a run have a checkpoint.

    Args:
        folder: the run folder.
        steps: those that have one, in increasing order.
        near: if there are too many to name all, those nearest to this step are named; None: the
            first ones.
    """
    if not steps:
        return f"{folder} has no checkpoint; the first one is written after the first episode"
    shown = list(steps)
    if len(steps) > MAX_LISTED:
        shown = sorted(sorted(steps, key=lambda step: abs(step - (near or 0)))[:MAX_LISTED])
    more = len(steps) - len(shown)
    listed = ", ".join(map(str, shown)) + (f" and {more} more" if more else "")
    has = "has checkpoints at" if near is None else "has no checkpoint at this step, only at"
    return (
        f"{folder} {has} {listed}; for more of them train with "
        "checkpoint_every=STEPS keep_checkpoints=NUMBER"
    )
