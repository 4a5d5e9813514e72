"""The checkpoints of one run folder.

A checkpoint is the state of a run between two episodes. The replay only grows, so each checkpoint
writes its new transitions to one more segment file and lists all segments that belong to it.

    checkpoints/0000000500.safetensors         state after 500 environment steps; the last few stay
    replay/0000000000-0000000500.safetensors   the transitions up to then
    checkpoint.safetensors                     agent and result of the finished run
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_cli.checkpoint import SUFFIX, load_checkpoint, save_checkpoint
from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer

FINAL_CHECKPOINT = "checkpoint"
CHECKPOINTS = "checkpoints"
REPLAY = "replay"
DAMAGED = ".damaged"
# Keys and types of every checkpoint, and of those between two episodes.
CHECKPOINT_KEYS: dict[str, type] = {"env_step": int, "agent": dict}
RESUMABLE_KEYS: dict[str, type] = {
    "rows": int, "episodes": int, "generators": dict, "seconds": dict, "log": dict,
    "segments": list,
}  # fmt: skip


class CheckpointStore:
    """Writes the checkpoints of the run in `folder` and keeps the newest `num_kept` of them.

    A checkpoint is a dict for `save_checkpoint` with at least `env_step` and `rows`, the number of
    transitions that belong to it.
    """

    def __init__(
        self, folder: Path, num_kept: int, resumed_from: dict[str, Any] | None = None
    ) -> None:
        """Start with no checkpoints, or after the one that `load_newest_checkpoint` returned."""
        self.folder = folder
        self.num_kept = num_kept
        # [first row, last row + 1] of each segment on disk
        self._segments: list[list[int]] = resumed_from["segments"] if resumed_from else []
        # Environment step of the newest checkpoint; -1: there is none.
        self.saved_step: int = resumed_from["env_step"] if resumed_from else -1

    def save(self, checkpoint: dict[str, Any], replay: ReplayBuffer) -> None:
        """Write a checkpoint and the transitions since the previous one.

        `replay` may already hold transitions of the next episode; they are not written.
        """
        saved_rows = self._segments[-1][1] if self._segments else 0
        rows = checkpoint["rows"]
        if rows > saved_rows:
            segment = replay.transitions(saved_rows, rows)
            save_checkpoint(self.folder / REPLAY, _segment_name(saved_rows, rows), segment)
            self._segments.append([saved_rows, rows])
        name = f"{checkpoint['env_step']:010d}"
        segments = [list(segment) for segment in self._segments]
        save_checkpoint(self.folder / CHECKPOINTS, name, checkpoint | {"segments": segments})
        self.saved_step = checkpoint["env_step"]
        for old in _newest_first(self.folder)[self.num_kept :]:
            old.unlink()

    def finish(self, env_step: int, agent: dict[str, Any], result: float) -> None:
        """Write the agent's state at the end of the run, and the final evaluation's mean return."""
        final = {"env_step": env_step, "agent": agent, "result": result}
        save_checkpoint(self.folder, FINAL_CHECKPOINT, final)


def load_newest_checkpoint(
    folder: Path,
) -> tuple[dict[str, Any] | None, dict[str, np.ndarray], dict[Path, str]]:
    """Return the newest intact checkpoint, its transitions by field, and the damaged files.

    The checkpoint is None if the run was interrupted before its first one. The third value maps the
    path of each damaged file to the reason.

    Raises:
        UserError: if there are checkpoints, but none is intact.
    """
    damaged: dict[Path, str] = {}
    for path in _newest_first(folder):
        try:
            checkpoint = _load_checked(path)
            return checkpoint, load_replay(folder, checkpoint), damaged
        except UserError as error:
            damaged[path] = str(error)
    if damaged:
        first = next(iter(damaged.values()))
        raise UserError(f"{folder}: no intact checkpoint is left ({first})")
    return None, {}, {}


def mark_as_damaged(path: Path) -> None:
    """Rename a damaged checkpoint, so that it does not count as one of those to keep."""
    path.rename(path.with_name(path.name + DAMAGED))


def load_final_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return what `CheckpointStore.finish` wrote, or None if the run has not finished.

    A damaged file counts as missing: a resumed run writes it again from the newest checkpoint.
    """
    paths = [folder / f"{FINAL_CHECKPOINT}{SUFFIX}"]
    return next(_intact(paths, []), None)


def load_newest_agent_state(folder: Path) -> dict[str, Any]:
    """Return the intact checkpoint with the most environment steps, finished or not.

    Its keys `env_step` and `agent` are always there.

    Raises:
        UserError: if no checkpoint is intact.
    """
    errors: list[str] = []
    checkpoints = list(_intact([folder / f"{FINAL_CHECKPOINT}{SUFFIX}"], errors))
    checkpoints += islice(_intact(_newest_first(folder), errors), 1)
    if not checkpoints:
        raise UserError(errors[0])
    return max(checkpoints, key=lambda checkpoint: int(checkpoint["env_step"]))


def load_newest_replay(folder: Path) -> tuple[dict[str, np.ndarray], int]:
    """Return the transitions of the newest intact checkpoint by field, and their episode count.

    Raises:
        UserError: if no intact checkpoint has transitions, or if a segment is damaged.
    """
    errors: list[str] = []
    for checkpoint in _intact(_newest_first(folder), errors):
        if checkpoint["segments"]:
            return load_replay(folder, checkpoint), checkpoint["episodes"]
    raise UserError(f"{folder}: has no replay ({'; '.join(errors) or 'no checkpoints'})")


def load_replay(folder: Path, checkpoint: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the transitions of a checkpoint by field.

    Raises:
        UserError: if a segment is damaged.
    """
    segments = [
        load_checkpoint(folder / REPLAY / f"{_segment_name(start, stop)}{SUFFIX}")
        for start, stop in checkpoint["segments"]
    ]
    if not segments:
        return {}
    return {name: np.concatenate([part[name] for part in segments]) for name in segments[0]}


def _intact(paths: list[Path], errors: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the checkpoints at `paths` that can be read; append the errors of the others."""
    for path in paths:
        try:
            yield _load_checked(path)
        except UserError as error:
            errors.append(str(error))


def _load_checked(path: Path) -> dict[str, Any]:
    """Load a checkpoint and check its keys: a correct checksum does not imply that they exist."""
    checkpoint = load_checkpoint(path)
    required = CHECKPOINT_KEYS
    if path.parent.name == CHECKPOINTS:
        required = required | RESUMABLE_KEYS
    for key, kind in required.items():
        if not isinstance(checkpoint.get(key), kind):
            raise UserError(f"{path} is no checkpoint of a run: {key} is missing or wrong")
    return checkpoint


def _newest_first(folder: Path) -> list[Path]:
    return sorted((folder / CHECKPOINTS).glob(f"[0-9]*{SUFFIX}"), reverse=True)


def _segment_name(start: int, stop: int) -> str:
    # The format accepts integers only, so a tampered checkpoint cannot name another path.
    return f"{start:010d}-{stop:010d}"
