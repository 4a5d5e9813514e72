"""What the journal holds about one trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

End = Literal["", "complete", "pruned", "failed"]  # "": it may go on


class SeedResult(NamedTuple):
    """One run of a trial at one rung."""

    mean_return: float  # of the evaluation at the rung; at the last rung the final one
    steps: int  # environment steps that were taken for it; after a kill some are taken again
    saved_step: int  # of the checkpoint from which the run continues to the next rung


@dataclass(frozen=True)
class TrialRecord:
    """One trial: a choice of values, with one run for each seed.

    Attributes:
        number: counted from 0.
        trial_id: Optuna's id.
        values: key -> value.
        rung: up to which its runs go; promoting the trial raises it.
        results: rung -> seed -> result.
        end: whether and how the trial has ended.
        reason: why it failed or was pruned.
    """

    number: int
    trial_id: int
    values: dict[str, Any]
    rung: int
    results: dict[int, dict[int, SeedResult]] = field(default_factory=dict)
    end: End = ""
    reason: str = ""

    def returns(self, rung: int) -> list[float]:
        """Return the mean returns of the runs that have reached a rung."""
        return [result.mean_return for result in self.results.get(rung, {}).values()]

    def mean(self, rung: int) -> float:
        """Return the mean over the seeds that have reached a rung; -inf if there are none."""
        values = self.returns(rung)
        return sum(values) / len(values) if values else float("-inf")

    @property
    def reached(self) -> int:
        """Return the highest rung with a result, -1 without any."""
        return max((rung for rung, results in self.results.items() if results), default=-1)

    @property
    def steps(self) -> int:
        """Return the environment steps that all runs of the trial have taken."""
        return sum(result.steps for seeds in self.results.values() for result in seeds.values())
