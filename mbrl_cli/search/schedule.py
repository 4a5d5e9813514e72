"""What a worker does next: asynchronous successive halving in one or more brackets.

Li et al. 2020 (A system for massively parallel hyperparameter tuning), algorithm 2, and Hyperband
(Li et al. 2018) for more than one bracket. Two rules are added: a run that was interrupted is
continued first; and because the number of trials is fixed, the best one is promoted to the end if
no trial can be promoted or started and none has finished.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from mbrl_cli.search.trial_record import TrialRecord


class Job(NamedTuple):
    """A trial that is run up to a rung: `trial` None is a new one."""

    trial: TrialRecord | None
    rung: int


class Schedule:
    """Chooses jobs from the records of all trials; it has no state of its own.

    Args:
        num_rungs: R.
        seeds: of each trial.
        trials: their number.
        reduction: one trial in this number is promoted.
        brackets: 1 to R; trials of bracket k start at rung k.
    """

    def __init__(
        self, num_rungs: int, seeds: Sequence[int], trials: int, reduction: int, brackets: int
    ) -> None:
        self._last = num_rungs - 1
        self._seeds = frozenset(seeds)
        self._trials = trials
        self._reduction = reduction
        self._brackets = brackets

    def next_job(
        self, records: Sequence[TrialRecord], is_busy: Callable[[int], bool]
    ) -> Job | Literal["wait"] | None:
        """Return the next job; None if the search is complete.

        Args:
            records: of all trials, by number.
            is_busy: whether another worker has the trial with this number.
        """
        unfinished = [r for r in records if not r.end and not self.is_at_rest(r)]
        for record in unfinished:
            if not is_busy(record.number):
                return Job(record, record.rung)
        for rung in reversed(range(self._last)):
            for bracket in range(self._brackets):
                best = self._promotable(records, rung, bracket)
                if best is not None:
                    # Its worker has recorded the last result and is about to release it.
                    return "wait" if is_busy(best.number) else Job(best, rung + 1)
        if len(records) < self._trials:
            return Job(None, self.bracket(len(records)))
        if unfinished:
            return "wait"
        waiting = [record for record in records if not record.end]
        if waiting and all(record.end != "complete" for record in records):
            highest = max(waiting, key=lambda r: (r.rung, r.mean(r.rung), -r.number))
            return "wait" if is_busy(highest.number) else Job(highest, highest.rung + 1)
        return None

    def is_at_rest(self, record: TrialRecord) -> bool:
        """Return whether all runs of a trial have reached its rung."""
        return self._seeds <= record.results.get(record.rung, {}).keys()

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial: 0 for n trials, then 1, and so on, and again from 0.

        The numbers of trials are those of Hyperband, where all brackets take about equal steps.
        """
        sizes = []
        for bracket in range(self._brackets):
            halvings = self._last - bracket
            share = (self._last + 1) / (halvings + 1)
            sizes.append(math.ceil(share * self._reduction**halvings))
        place = number % sum(sizes)
        return next(k for k in range(self._brackets) if place < sum(sizes[: k + 1]))

    def _promotable(
        self, records: Sequence[TrialRecord], rung: int, bracket: int
    ) -> TrialRecord | None:
        """Return the best trial that is at rest at a rung and among the best 1 / reduction there.

        Trials that were pruned or have failed at the rung count among those that are compared.
        """
        here = [
            r
            for r in records
            if self.bracket(r.number) == bracket
            and (r.reached >= rung or r.rung == rung)
            and (r.end or r.rung > rung or self.is_at_rest(r))
        ]
        here.sort(key=lambda r: (-r.mean(rung), r.number))
        best = here[: len(here) // self._reduction]
        return next((r for r in best if not r.end and r.rung == rung), None)
