"""Settings of `mbrl compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CompareOptions:
    """What is compared, and how.

    Attributes:
        metric: the tag whose values are compared.
        by: groups and keys whose values form the groups of runs; None: everything that differs.
        threshold: the value whose time is measured; None: one that is known for the environment.
        low: lowest possible value of the metric; None: a known one.
        high: highest possible value of the metric; None: a known one.
        reference: the group that all others are compared with; None: the best group.
        at: the step whose values are compared; None: the last of each run.
        lower_is_better: whether low values are good; None: if the metric is a loss, an error or a
            time.
        unfinished: whether runs that have not finished are compared, too.
        baseline: a CSV file of published results.
        baseline_names: the algorithms that are drawn; empty: all.
    """

    metric: str = "eval/return"
    by: Sequence[str] | None = None
    threshold: float | None = None
    low: float | None = None
    high: float | None = None
    reference: str | None = None
    at: float | None = None
    lower_is_better: bool | None = None
    unfinished: bool = False
    baseline: Path | None = None
    baseline_names: Sequence[str] = ()
