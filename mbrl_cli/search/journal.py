"""The trials of a search in an Optuna journal file, which all workers share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.logging import WARNING, set_verbosity
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mbrl_cli.errors import UserError
from mbrl_cli.run_files import check_regular, open_regular
from mbrl_cli.search.trial_record import End, SeedResult, TrialRecord

JOURNAL = "journal.log"
LOCK = "journal.lock"
STUDY = "search"
RUNG, REASON = "rung", "reason"  # user attributes of a trial, beside "RUNG/SEED"
ENDS: dict[TrialState, End] = {
    TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
}  # fmt: skip


class Journal:
    """Reads and appends records of trials.

    Each method that writes appends one line and must be called in a block of `exclusive`, whose
    lock the kernel releases when the process ends. So a worker that is killed leaves either the
    whole line or a part of it, which the next writer deletes.

    Args:
        folder: of the search.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._lock = folder / LOCK
        check_regular(self._path)
        set_verbosity(WARNING)
        with self.exclusive(), self._damage_as_user_error():
            self._storage = JournalStorage(
                JournalFileBackend(str(self._path), _NoLock(str(self._path)))
            )
            studies = {s.study_name: s._study_id for s in self._storage.get_all_studies()}
            if STUDY not in studies:
                studies[STUDY] = self._storage.create_new_study([StudyDirection.MAXIMIZE], STUDY)
        self._study = studies[STUDY]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let no other worker write inside the block; wait until this is possible.

        Windows has no such lock: there a search has one worker.
        """
        descriptor = open_regular(self._lock, os.O_RDWR | os.O_CREAT)
        try:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX)
            _delete_partial_line(self._path)
            yield
        finally:
            os.close(descriptor)

    def records(self) -> list[TrialRecord]:
        """Return all trials by number."""
        with self._damage_as_user_error():
            return [_record(trial) for trial in self._storage.get_all_trials(self._study)]

    def add(
        self, values: dict[str, Any], distributions: dict[str, BaseDistribution], rung: int
    ) -> TrialRecord:
        """Append a new trial that starts with runs up to a rung."""
        number = len(self.records())
        trial = FrozenTrial(
            number=number, trial_id=number, state=TrialState.RUNNING, value=None,
            datetime_start=datetime.now(), datetime_complete=None, params=values,
            distributions=distributions, user_attrs={RUNG: rung}, system_attrs={},
            intermediate_values={},
        )  # fmt: skip
        trial_id = self._storage.create_new_trial(self._study, trial)
        return _record(self._storage.get_trial(trial_id))

    def promote(self, record: TrialRecord, rung: int) -> None:
        """Append that the runs of a trial go up to a higher rung."""
        self._storage.set_trial_user_attr(record.trial_id, RUNG, rung)

    def add_result(self, record: TrialRecord, rung: int, seed: int, result: SeedResult) -> None:
        """Append the result of one run at a rung."""
        self._storage.set_trial_user_attr(record.trial_id, f"{rung}/{seed}", list(result))

    def report(self, record: TrialRecord, env_step: int, mean: float) -> None:
        """Append the mean over all seeds at a rung, for Optuna's own displays."""
        self._storage.set_trial_intermediate_value(record.trial_id, env_step, mean)

    def end(self, record: TrialRecord, end: End, reason: str = "") -> None:
        """Append how a trial has ended; a complete one has the mean at its rung as its value."""
        if reason:
            self._storage.set_trial_user_attr(record.trial_id, REASON, reason)
        state = next(state for state, name in ENDS.items() if name == end)
        values = [record.mean(record.rung)] if end == "complete" else None
        self._storage.set_trial_state_values(record.trial_id, state, values)

    @contextmanager
    def _damage_as_user_error(self) -> Iterator[None]:
        """Raise a UserError that names the file if its content is not a journal of a search."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(f"{self._path}: is damaged ({reason})") from error


class _NoLock(JournalFileOpenLock):
    """Optuna's own lock outlives a process that is killed, so `Journal.exclusive` replaces it."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _delete_partial_line(path: Path) -> None:
    """Delete what a writer that was killed left behind the last line break."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _record(trial: FrozenTrial) -> TrialRecord:
    results: dict[int, dict[int, SeedResult]] = {}
    for name, value in trial.user_attrs.items():
        rung, slash, seed = name.partition("/")
        if slash:
            results.setdefault(int(rung), {})[int(seed)] = SeedResult(*value)
    return TrialRecord(
        number=trial.number,
        trial_id=trial._trial_id,
        values=dict(trial.params),
        rung=int(trial.user_attrs[RUNG]),
        results=results,
        end=ENDS.get(trial.state, ""),
        reason=str(trial.user_attrs.get(REASON, "")),
    )
