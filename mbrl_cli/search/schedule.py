"""What a worker does next: successive halving in one or more brackets.

Jamieson and Talwalkar 2016 (Non-stochastic best arm identification), and Hyperband (Li et al. 2018)
for more than one bracket. Trials are promoted when all of them have reached a rung, because their
number is fixed: a promotion during the search (ASHA) compares a trial with the first ones alone, so
more trials are promoted than one in `reduction`. Two rules are added: a run that was interrupted
is continued first; and if all promoted trials have failed, the best one of the others is promoted.
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
        reduction: one trial in this number is promoted, rounded up.
        brackets: 1 to R; trials of bracket k start at rung k.
    """

    def __init__(
        self, num_rungs: int, seeds: Sequence[int], trials: int, reduction: int, brackets: int
    ) -> None:
        self._last = num_rungs - 1
        self._seeds = frozenset(seeds)
        self._trials = trials
        self._reduction = reduction
        self._sizes = [self._size_in_cycle(bracket) for bracket in range(brackets)]

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
        if len(records) < self._trials:
            return Job(None, self.bracket(len(records)))
        for bracket in range(len(self._sizes)):
            best = self._promotable(records, bracket)
            if best is not None:
                # Its worker has recorded the last result and is about to release it.
                return "wait" if is_busy(best.number) else Job(best, best.rung + 1)
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
        place = number % sum(self._sizes)
        return next(k for k in range(len(self._sizes)) if place < sum(self._sizes[: k + 1]))

    def num_reaching(self, rung: int, bracket: int) -> int:
        """Return how many trials of a bracket are run up to a rung.

        Fractions are rounded up, so that from ten trials on at least two are compared at the end.
        """
        if rung < bracket:
            return 0
        cycles, rest = divmod(self._trials, sum(self._sizes))
        size, before = self._sizes[bracket], sum(self._sizes[:bracket])
        started = cycles * size + min(max(rest - before, 0), size)
        return -(-started // int(self._reduction ** (rung - bracket)))

    def most_steps(self, rungs: Sequence[int], repeated: int) -> int:
        """Return the environment steps of a search in which no run is interrupted, at most.

        Args:
            rungs: environment steps of each rung.
            repeated: steps at most that a promoted run takes again: those of its last episode.
        """
        steps = 0
        for bracket in range(len(self._sizes)):
            steps += self.num_reaching(bracket, bracket) * rungs[bracket]
            for rung in range(bracket + 1, len(rungs)):
                each = rungs[rung] - rungs[rung - 1] + repeated
                steps += self.num_reaching(rung, bracket) * each
        return steps * len(self._seeds)

    def _size_in_cycle(self, bracket: int) -> int:
        """Return Hyperband's number of trials in a bracket."""
        halvings = self._last - bracket
        return math.ceil((self._last + 1) / (halvings + 1) * int(self._reduction**halvings))

    def _promotable(self, records: Sequence[TrialRecord], bracket: int) -> TrialRecord | None:
        """Return the best trial of a bracket that waits at a rung and is promoted from there.

        Trials that were pruned at the rung count among those that are compared; failed ones are
        the last there.
        """
        for rung in range(bracket, self._last):
            here = [r for r in records if self.bracket(r.number) == bracket and r.rung >= rung]
            if any(not r.end and r.rung == rung and not self.is_at_rest(r) for r in here):
                return None
            here.sort(key=lambda r: (r.end == "failed" and r.rung == rung, -r.mean(rung), r.number))
            best = here[: self.num_reaching(rung + 1, bracket)]
            promoted = next((r for r in best if not r.end and r.rung == rung), None)
            if promoted is not None:
                return promoted
        return None
