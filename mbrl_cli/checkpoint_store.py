"""The checkpoints of one run folder.

A checkpoint is the state of a run between two episodes. The replay only grows, so each checkpoint
writes its new transitions to one more segment file and lists all segments that belong to it.

    checkpoints/0000000500.safetensors         state after 500 environment steps; the last few stay
    replay/0000000000-0000000500.safetensors   the transitions up to then
    checkpoint.safetensors                     agent and result of the finished run

Every checkpoint holds the config of its run as text, see `saved_config.config_record`: a resumed
run must not continue with another config. The files may come from another person, so everything in
them is checked before use, apart from the agent's state, which is compared with a new agent later.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mbrl_cli.checkpoint import SUFFIX, load_checkpoint, save_checkpoint
from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.run_files import (
    CHECKPOINTS,
    FINAL_FILE,
    STOPPED_FILE,
    check_subfolder,
    write_atomically,
)
from mbrl_cli.stopwatch import PHASES

FINAL_CHECKPOINT = FINAL_FILE.removesuffix(SUFFIX)
REPLAY = "replay"
DAMAGED = ".damaged"
# Keys and types of every checkpoint, and of those between two episodes.
CHECKPOINT_KEYS: dict[str, type] = {"env_step": int, "agent": dict}
RESUMABLE_KEYS: dict[str, type] = {
    "rows": int, "episodes": int, "generators": dict, "seconds": dict, "log": dict,
    "segments": list,
}  # fmt: skip
CONFIGS = "configs"  # list of texts, see `CheckpointStore`; older checkpoints lack it
LARGEST_COUNT = 10**12  # steps, rows or bytes; a run of a century has fewer


class CheckpointStore:
    """Writes the checkpoints of the run in `folder` and keeps the newest `num_kept` of them.

    A checkpoint is a dict for `save_checkpoint` with at least `env_step` and `rows`, the number of
    transitions that belong to it.
    """

    def __init__(self, folder: Path, num_kept: int, config: str = "") -> None:
        """Start with no checkpoints.

        Args:
            folder: the run folder.
            num_kept: number of checkpoints that stay.
            config: the run's config as text, stored in each checkpoint.
        """
        self.folder = folder
        self.num_kept = num_kept
        self._configs = {CONFIGS: [config]} if config else {}
        self._segments: list[list[int]] = []  # [first row, last row + 1] of each segment on disk
        self.saved_step = -1  # environment step of the newest checkpoint; -1: there is none

    def continue_from(self, checkpoint: dict[str, Any]) -> None:
        """Continue after the checkpoint that `load_newest_checkpoint` returned."""
        self._segments = checkpoint["segments"]
        self.saved_step = checkpoint["env_step"]

    def save(self, checkpoint: dict[str, Any], replay: ReplayBuffer) -> None:
        """Write a checkpoint and the transitions since the previous one.

        `replay` may already hold transitions of the next episode; they are not written.
        """
        saved_rows = self._segments[-1][1] if self._segments else 0
        rows = checkpoint["rows"]
        if rows > saved_rows:
            segment = replay.transitions(saved_rows, rows)
            save_checkpoint(self.folder / REPLAY, segment_name(saved_rows, rows), segment)
            self._segments.append([saved_rows, rows])
        name = f"{checkpoint['env_step']:010d}"
        segments = [list(segment) for segment in self._segments]
        state = checkpoint | {"segments": segments} | self._configs
        save_checkpoint(self.folder / CHECKPOINTS, name, state)
        self.saved_step = checkpoint["env_step"]
        for old in newest_first(self.folder)[self.num_kept :]:
            old.unlink()

    def record_stop(self, reason: str) -> None:
        """Write why the run finishes before its total steps; call before `finish`."""
        write_atomically(self.folder / STOPPED_FILE, f"{reason}\n".encode())

    def finish(self, env_step: int, agent: dict[str, Any], result: float) -> None:
        """Write the agent's state at the end of the run, and the final evaluation's mean return."""
        final = {"env_step": env_step, "agent": agent, "result": result} | self._configs
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
    for path in newest_first(folder):
        try:
            checkpoint = load_checked(path)
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


def load_final_checkpoint(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Return what `CheckpointStore.finish` wrote, None if the run has not finished, and a reason.

    A damaged file counts as missing: a resumed run writes it again from the newest checkpoint. The
    reason then says what is wrong with it; otherwise it is empty.
    """
    path = folder / f"{FINAL_CHECKPOINT}{SUFFIX}"
    if not path.exists() and not path.is_symlink():
        return None, ""
    try:
        return load_checked(path), ""
    except UserError as error:
        return None, str(error)


def load_newest_agent_state(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the intact checkpoint with the most environment steps, finished or not.

    Its keys `env_step` and `agent` are always there. The second value says what is wrong with each
    damaged checkpoint that was passed over.

    Raises:
        UserError: if no checkpoint is intact.
    """
    final, reason = load_final_checkpoint(folder)
    errors = [reason] if reason else []
    checkpoints = [final] if final is not None else []
    checkpoints += islice(_intact(newest_first(folder), errors), 1)
    if not checkpoints:
        no_file = f"{folder}: has no checkpoint yet; to continue the run type: mbrl resume {folder}"
        raise UserError(errors[0] if errors else no_file)
    return max(checkpoints, key=lambda checkpoint: int(checkpoint["env_step"])), errors


def accept_config(folder: Path, config: str) -> None:
    """Let every intact checkpoint in the folder be continued with another config, too.

    Called before the config of a run changes. If the process is killed in between, both the old and
    the new config fit.
    """
    for path in [folder / f"{FINAL_CHECKPOINT}{SUFFIX}", *newest_first(folder)]:
        for checkpoint in _intact([path] if path.exists() else [], []):
            configs = checkpoint.get(CONFIGS, [])
            if configs and config not in configs:
                changed = checkpoint | {CONFIGS: [*configs, config]}
                save_checkpoint(path.parent, path.name.removesuffix(SUFFIX), changed)


def load_newest_replay(folder: Path) -> tuple[dict[str, np.ndarray], int]:
    """Return the transitions of the newest intact checkpoint by field, and their episode count.

    Raises:
        UserError: if no intact checkpoint has transitions, or if a segment is damaged.
    """
    errors: list[str] = []
    for checkpoint in _intact(newest_first(folder), errors):
        if checkpoint["segments"]:
            return load_replay(folder, checkpoint), checkpoint["episodes"]
    raise UserError(f"{folder}: has no replay ({'; '.join(errors) or 'no checkpoints'})")


def load_replay(folder: Path, checkpoint: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the transitions of a checkpoint by field.

    Raises:
        UserError: if a segment is damaged, or does not fit the others.
    """
    check_subfolder(folder / REPLAY)
    segments: list[dict[str, np.ndarray]] = []
    for start, stop in checkpoint["segments"]:
        path = folder / REPLAY / f"{segment_name(start, stop)}{SUFFIX}"
        segment = load_checkpoint(path)
        _check_segment(path, segment, stop - start, segments[0] if segments else None)
        segments.append(segment)
    if not segments:
        return {}
    stored = {name: np.concatenate([part[name] for part in segments]) for name in segments[0]}
    # Rows of parallel episodes alternate, but an episode never starts before an earlier one.
    episodes, first_rows = np.unique(stored["episode"], return_index=True)
    in_order = bool((np.diff(first_rows) > 0).all())
    if not in_order or episodes[0] < 0 or episodes[-1] >= checkpoint["episodes"]:
        raise UserError(f"{folder / REPLAY}: is no replay of a run: the episodes are not in order")
    return stored


def _check_segment(
    path: Path, segment: dict[str, Any], rows: int, first: dict[str, np.ndarray] | None
) -> None:
    """Raise UserError if fields, types or shapes of a segment are not those of transitions."""
    expected = ReplayBuffer(capacity=0, obs_dim=0, action_dim=0).transitions(0, 0)
    for name in expected | segment:
        if name not in expected or not isinstance(segment.get(name), np.ndarray):
            raise UserError(f"{path}: is no segment of a replay: {name} is missing or wrong")
        field, blank = segment[name], expected[name]
        types = (blank.dtype, np.uint8) if blank.ndim == 2 and name != "action" else (blank.dtype,)
        shape = (rows, *(first[name].shape[1:] if first else field.shape[1:]))
        dtype = first[name].dtype if first else field.dtype
        fits = field.shape == shape and field.ndim == blank.ndim and field.dtype == dtype
        if not fits or field.dtype not in types:
            raise UserError(
                f"{path}: is no segment of a replay: {name} is {field.dtype} {list(field.shape)}"
            )


def _intact(paths: list[Path], errors: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the checkpoints at `paths` that can be read; append the errors of the others."""
    for path in paths:
        try:
            yield load_checked(path)
        except UserError as error:
            errors.append(str(error))


def load_checked(path: Path) -> dict[str, Any]:
    """Load a checkpoint and check its keys: a correct checksum does not imply that they exist."""
    checkpoint = load_checkpoint(path)
    resumable = path.parent.name == CHECKPOINTS
    required = CHECKPOINT_KEYS | (RESUMABLE_KEYS if resumable else {"result": float})
    for key, kind in required.items():
        if type(checkpoint.get(key)) is not kind:
            raise UserError(f"{path} is no checkpoint of a run: {key} is missing or wrong")
    wrong = [] if _is_count(checkpoint["env_step"]) else ["env_step"]
    configs = checkpoint.get(CONFIGS, [])
    if not isinstance(configs, list) or not all(isinstance(text, str) for text in configs):
        wrong.append(CONFIGS)
    if resumable:
        wrong += _wrong_resumable_keys(path, checkpoint)
    if wrong:
        raise UserError(f"{path} is no checkpoint of a run: {wrong[0]} is missing or wrong")
    return checkpoint


def _wrong_resumable_keys(path: Path, checkpoint: dict[str, Any]) -> list[str]:
    """Return the keys whose values cannot be those of a checkpoint between two episodes."""
    rows, segments = checkpoint["rows"], checkpoint["segments"]
    log, seconds = checkpoint["log"], checkpoint["seconds"]
    pairs = all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_count, pair)) for pair in segments
    )
    # Each segment starts where the one before it ends, so none is loaded twice.
    starts = [0, *(pair[1] for pair in segments)] if pairs else []
    ordered = pairs and all(
        start == pair[0] < pair[1] for start, pair in zip(starts, segments, strict=False)
    )
    is_right = {
        "env_step": path.name == f"{checkpoint['env_step']:010d}{SUFFIX}",
        "rows": _is_count(rows),
        "episodes": _is_count(checkpoint["episodes"]),
        "segments": ordered and starts[-1] == rows,
        "seconds": all(
            key in PHASES and isinstance(value, float) for key, value in seconds.items()
        ),
        "log": {"csv", "events"} <= log.keys() and all(map(_is_count, log.values())),
        "generators": all(isinstance(value, Tensor) for value in checkpoint["generators"].values()),
    }
    return [key for key, right in is_right.items() if not right]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def newest_first(folder: Path) -> list[Path]:
    """Return the files of the checkpoints between two episodes, by falling step."""
    check_subfolder(folder / CHECKPOINTS)
    return sorted((folder / CHECKPOINTS).glob(f"[0-9]*{SUFFIX}"), reverse=True)


def segment_name(start: int, stop: int) -> str:
    """Return the name, without suffix, of the file with the rows from `start` to `stop` - 1."""
    # The format accepts integers only, so a tampered checkpoint cannot name another path.
    return f"{start:010d}-{stop:010d}"
