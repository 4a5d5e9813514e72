"""The checkpoints of one run folder.

A checkpoint is the state of a run between two episodes. The replay only grows, so each checkpoint
writes its new transitions as one more segment and lists those before it.

    checkpoints/0000000500.safetensors     state after 500 environment steps; the last few are kept
    replay/0000000000-0000000500.safetensors   the transitions up to then
    checkpoint.safetensors                 what was learned when the run finished, and its result
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

CHECKPOINT = "checkpoint"
CHECKPOINTS = "checkpoints"
REPLAY = "replay"
DAMAGED = ".damaged"


class RunStore:
    """Saves and finds the states of the run in `folder`; keeps the last `keep` of them.

    A state is a dict for `save_checkpoint` that holds at least `env_step` and `rows`, the number of
    transitions that belong to it.
    """

    def __init__(self, folder: Path, keep: int, state: dict[str, Any] | None = None) -> None:
        """Start a history, or go on after `state`, which `newest_state` returned."""
        self.folder = folder
        self.keep = keep
        # [first row, row past the last] of each segment on disk
        self._segments: list[list[int]] = state["segments"] if state else []
        self.saved_step: int = state["env_step"] if state else -1  # of the newest checkpoint

    def save(self, state: dict[str, Any], replay: ReplayBuffer) -> None:
        """Write a checkpoint; it costs the transitions since the one before, not the whole replay.

        `replay` may hold more rows than belong to `state`, which stays behind at the last boundary.
        """
        done = self._segments[-1][1] if self._segments else 0
        rows = state["rows"]
        if rows > done:
            segment = replay.stored(done, rows)
            save_checkpoint(self.folder / REPLAY, _segment_name(done, rows), segment)
            self._segments.append([done, rows])
        name = f"{state['env_step']:010d}"
        save_checkpoint(
            self.folder / CHECKPOINTS, name, state | {"segments": [list(s) for s in self._segments]}
        )
        self.saved_step = state["env_step"]
        for old in _newest_first(self.folder)[self.keep :]:
            old.unlink()

    def finish(self, env_step: int, agent: dict[str, Any], result: float) -> None:
        """Write what was learned when the run finished, and the return it came to."""
        state = {"env_step": env_step, "agent": agent, "result": result}
        save_checkpoint(self.folder, CHECKPOINT, state)


def newest_state(
    folder: Path,
) -> tuple[dict[str, Any] | None, dict[str, np.ndarray], dict[Path, str]]:
    """Return the newest intact state, its replay by field, and the damaged files: why by path.

    The state is None where the run was cut before its first checkpoint.

    Raises:
        UserError: if there are checkpoints, but none of them is intact.
    """
    damaged: dict[Path, str] = {}
    for path in _newest_first(folder):
        try:
            state = _read(path)
            return state, read_replay(folder, state), damaged
        except UserError as error:
            damaged[path] = str(error)
    if damaged:
        first = next(iter(damaged.values()))
        raise UserError(f"{folder}: no intact checkpoint is left ({first})")
    return None, {}, {}


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that it is not counted among those to keep."""
    path.rename(path.with_name(path.name + DAMAGED))


def finished_state(folder: Path) -> dict[str, Any] | None:
    """Return what `RunStore.finish` wrote, None where the run has not finished.

    A damaged file counts as none: the run finds its content again from the last checkpoint.
    """
    paths = [folder / f"{CHECKPOINT}{SUFFIX}"]
    return next(_intact(paths, []), None)


def newest_learned(folder: Path) -> dict[str, Any]:
    """Return the intact state of a run folder that has learned most: `env_step` and `agent`.

    Raises:
        UserError: if there is none; it says why.
    """
    refusals: list[str] = []
    states = list(_intact([folder / f"{CHECKPOINT}{SUFFIX}"], refusals))
    states += islice(_intact(_newest_first(folder), refusals), 1)
    if not states:
        raise UserError(refusals[0])
    return max(states, key=lambda state: int(state["env_step"]))


def newest_replay(folder: Path) -> tuple[dict[str, np.ndarray], int]:
    """Return the newest intact replay of a run folder by field, and its number of episodes."""
    refusals: list[str] = []
    for state in _intact(_newest_first(folder), refusals):
        if state["segments"]:
            return read_replay(folder, state), state["episodes"]
    raise UserError(f"{folder}: has no replay ({'; '.join(refusals) or 'no checkpoints'})")


def read_replay(folder: Path, state: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the transitions of a checkpoint by field; UserError where a segment is damaged."""
    segments = [
        load_checkpoint(folder / REPLAY / f"{_segment_name(start, stop)}{SUFFIX}")
        for start, stop in state["segments"]
    ]
    if not segments:
        return {}
    return {name: np.concatenate([part[name] for part in segments]) for name in segments[0]}


def _intact(paths: list[Path], refusals: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the states at `paths` that can be read; note why the others cannot."""
    for path in paths:
        try:
            yield _read(path)
        except UserError as error:
            refusals.append(str(error))


def _read(path: Path) -> dict[str, Any]:
    """Load a state; its checksum says that it is whole, not that it is one."""
    state = load_checkpoint(path)
    wanted = {"env_step": int, "agent": dict}
    if path.parent.name == CHECKPOINTS:
        wanted |= {
            "rows": int, "episodes": int, "generators": dict, "seconds": dict, "log": dict,
            "segments": list,
        }  # fmt: skip
    for key, kind in wanted.items():
        if not isinstance(state.get(key), kind):
            raise UserError(f"{path} is no state of a run: {key} is missing or wrong")
    return state


def _newest_first(folder: Path) -> list[Path]:
    return sorted((folder / CHECKPOINTS).glob(f"[0-9]*{SUFFIX}"), reverse=True)


def _segment_name(start: int, stop: int) -> str:
    return f"{start:010d}-{stop:010d}"  # whole numbers only: no path can hide in them
