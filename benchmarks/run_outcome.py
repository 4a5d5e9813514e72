"""The results of a finished run that must be equal to the bit, whatever interrupted it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.checkpoint_store import load_newest_replay


def outcome(folder: Path) -> dict[str, Any]:
    """Return weights, generators, metrics, TensorBoard's points and the replay of a run."""
    rows = (folder / "metrics.csv").read_bytes().splitlines(keepends=True)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    stored, episodes = load_newest_replay(folder)
    return {
        "weights": (folder / "checkpoint.safetensors").read_bytes(),
        "metrics.csv": b"".join(row for row in rows if b",time/" not in row),
        "events": {
            tag: repr([(point.step, point.value) for point in events.Scalars(tag)])
            for tag in events.Tags()["scalars"]
            if not tag.startswith("time/")
        },
        "replay": {name: np.asarray(part).tobytes() for name, part in stored.items()},
        "episodes": episodes,
    }


def differing_parts(folder: Path, expected: dict[str, Any]) -> list[str]:
    """Return the names of the parts in which a run differs from `expected`."""
    found = outcome(folder)
    return [name for name, value in expected.items() if found[name] != value]
