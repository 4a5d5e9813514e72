"""What may change when a run goes on, and what it would no longer be the same run with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mbrl_cli.errors import UserError

# What the run has done so far follows from these.
FIXED = (
    "seed", "prefill_steps", "holdout_ratio", "model_from", "model_from_frozen",
    "model_from_replay", "agent._target_", "model._target_", "model.head", "model.activation",
    "agent.imagined_capacity",
)  # fmt: skip
MISSING = "(missing)"

Changes = dict[str, tuple[Any, Any]]  # key -> value before, value now


def flat(config: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as dotted keys, the `recommended` block left out."""
    pairs: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            if key != "recommended":
                pairs |= flat(value, f"{prefix}{key}.")
        else:
            pairs[f"{prefix}{key}"] = value
    return pairs


def changes(before: dict[Any, Any], now: dict[Any, Any]) -> Changes:
    """Return the keys whose values differ."""
    old, new = flat(before), flat(now)
    return {
        key: (old.get(key, MISSING), new.get(key, MISSING))
        for key in old | new
        if old.get(key, MISSING) != new.get(key, MISSING)
    }


def refuse_fixed(changed: Changes, folder: Path) -> None:
    """Raise UserError for a key that a run keeps from its first step to its last."""
    for key, (before, now) in changed.items():
        if key.startswith("env.") or key in FIXED:
            raise UserError(
                f"{key}={now}: cannot change in a run that goes on, {folder} has {before}; "
                f"a new run can start from its model: mbrl train model_from={folder}"
            )


def refuse_sizes(saved: Any, built: Any, hint: str, name: str = "model") -> None:
    """Raise UserError where what was learned does not fit into what was built, by name.

    What is empty when it is built grows during a run: there any length fits.

    Args:
        saved: `state_dict` of what was learned.
        built: the same of a model that was just built; only shapes and names count.
        hint: what the message says before it names the first difference.
        name: of the value, for the message.
    """
    if isinstance(saved, dict) and isinstance(built, dict):
        if not built:
            return
        for key in [key for key in built | saved if key not in saved or key not in built]:
            where = "missing in what was saved" if key in built else "not in what is built now"
            raise UserError(f"{hint}: {name}.{key} is {where}")
        for key, value in built.items():
            refuse_sizes(saved[key], value, hint, f"{name}.{key}")
        return
    sizes = [list(getattr(value, "shape", ())) for value in (saved, built)]
    if sizes[1][:1] == [0]:
        sizes = [size[1:] for size in sizes]
    if sizes[0] != sizes[1] or isinstance(saved, dict) != isinstance(built, dict):
        raise UserError(f"{hint}: {name} is {sizes[0]} in what was saved, {sizes[1]} now")
