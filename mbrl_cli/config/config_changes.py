"""Compare the saved config of a run with a changed one, and refuse changes of fixed keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mbrl_cli.errors import UserError

# A run that is resumed keeps these: the steps it has taken depend on them.
FIXED_KEYS = (
    "seed", "prefill_steps", "prefill_hold", "holdout_ratio", "model_from", "model_from_frozen",
    "model_from_replay", "agent._target_", "model._target_", "model.head", "model.activation",
    "agent.imagined_capacity",
)  # fmt: skip
MISSING = "(missing)"

Changes = dict[str, tuple[Any, Any]]  # key -> value before, value now


def flatten(
    config: dict[Any, Any], prefix: str = "", skip: tuple[str, ...] = ("recommended",)
) -> dict[str, Any]:
    """Return nested settings as {dotted key: value}, without the sections named in `skip`.

    The values that an environment recommends are left out by default: a run does not use them
    after its config is composed.
    """
    pairs: dict[str, Any] = {}
    for key, value in config.items():
        if not isinstance(value, dict):
            pairs[f"{prefix}{key}"] = value
        elif key not in skip:
            pairs |= flatten(value, f"{prefix}{key}.", skip)
    return pairs


def find_changes(before: dict[Any, Any], now: dict[Any, Any]) -> Changes:
    """Return the keys whose values differ."""
    old, new = flatten(before), flatten(now)
    return {
        key: (old.get(key, MISSING), new.get(key, MISSING))
        for key in old | new
        # By their texts too, because NaN does not equal itself.
        if old.get(key, MISSING) != new.get(key, MISSING)
        and repr(old.get(key, MISSING)) != repr(new.get(key, MISSING))
    }


def refuse_fixed_keys(
    changes: Changes, folder: Path, kind: str = "a resumed run", free: Sequence[str] = ()
) -> None:
    """Raise UserError for a changed key that a resumed run must keep.

    Args:
        changes: the changed keys.
        folder: the run folder.
        kind: "a resumed run" or "a fork", for the error text.
        free: keys that may change.
    """
    for key, (before, now) in changes.items():
        if key not in free and (key.startswith("env.") or key in FIXED_KEYS):
            raise UserError(
                f"{key}={now}: cannot change in {kind}; {folder} has {key}={before}; to start a "
                f"new run from its model type: mbrl train model_from={folder}"
            )


def refuse_other_job(changes: Changes, folder: Path) -> None:
    """Raise UserError if a job's folder holds a run with another model, planner or agent.

    Folders of jobs are named by what differs within a sweep, so two sweeps may have equal names.
    """
    for key, (before, now) in changes.items():
        if "." in key:
            raise UserError(
                f"{key}={now}: {folder} holds a run with {key}={before}; for another sweep use "
                "another hydra.sweep.dir"
            )
