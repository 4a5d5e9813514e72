"""Compare the runs of a recipe with its stated result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mbrl_cli.config.published import Published, seeds_text
from mbrl_cli.reports.aggregates import difference
from mbrl_cli.reports.bootstrap import bootstrap_interval
from mbrl_cli.reports.student_t import t_quantile


class Reproduction:
    """The mean return of new runs beside the stated one.

    Attributes:
        mean: of the new runs.
        half_width: of the 95 % t interval of the mean.
        difference: new mean minus stated mean.
        low: lower end of the 95 % interval of the difference, see `bootstrap_interval`.
        high: its upper end.
    """

    def __init__(self, seeds: Sequence[int], returns: Sequence[float], stated: Published) -> None:
        self.seeds = seeds
        self.stated = stated
        new = np.asarray(returns, float)
        self.mean = float(new.mean())
        t = t_quantile(0.975, len(new) - 1)
        self.half_width = float(t * new.std(ddof=1) / len(new) ** 0.5)
        strata = [new, np.asarray(stated.returns, float)]
        self.difference = float(difference(strata))
        interval = bootstrap_interval(strata, difference, np.random.default_rng(0))
        self.low, self.high = float(interval.low), float(interval.high)

    @property
    def is_inside(self) -> bool:
        """Whether the interval of the difference contains 0."""
        tolerance = 1e-9 * (1.0 + abs(self.mean))  # of float64 sums
        return self.low - tolerance <= 0.0 <= self.high + tolerance

    def text(self, versions: Mapping[str, str | None]) -> str:
        """Return the lines that `mbrl reproduce` prints.

        Args:
            versions: of the packages here, by name.
        """
        stated = self.stated
        here = f"{self.mean:.1f} ± {self.half_width:.1f}, {stated.steps:,} steps, "
        verdict, contains = ("inside", "contains") if self.is_inside else ("outside", "excludes")
        lines = [
            f"stated    {stated.text()}, commit {stated.commit}, {stated.core_hours:g} core-hours",
            f"here      {here}seeds {seeds_text(self.seeds)}",
            f"{verdict:<9} the difference is {self.difference:+.1f}, its 95 % interval "
            f"{self.low:.1f} to {self.high:.1f} {contains} 0",
        ]
        others = [
            f"{name} {version} there, {versions.get(name) or 'not installed'} here"
            for name, version in stated.versions.items()
            if versions.get(name) != version
        ]
        if others:
            lines.insert(2, f"versions  {'; '.join(others)}")
        return "\n".join(lines) + "\n"
