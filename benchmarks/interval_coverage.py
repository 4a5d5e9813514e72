"""Measure how often the 95 % intervals of `mbrl compare` contain the truth.

Usage: python benchmarks/interval_coverage.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from mbrl_cli.reports.aggregates import iqm, mean, median
from mbrl_cli.reports.bootstrap import bootstrap_interval, percentile_interval

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
RESULTS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "capped at 500": lambda rng, shape: np.minimum(500, rng.normal(480, 40, shape)),
    "30 % failures": lambda rng, shape: np.where(
        rng.random(shape) < 0.3, rng.normal(200, 50, shape), rng.normal(480, 15, shape)
    ),
}
SIZES = ((3,), (5,), (10,), (20,), (5, 5, 5))


def main() -> None:
    """Print a Markdown table: a row for each distribution and number of runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiments", type=int, default=3000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| results of runs | runs | mean, percentiles only | mean | IQM | median |")
    print("|---|---|---|---|---|---|")
    for name, draw in RESULTS.items():
        population = np.sort(draw(rng, (2_000_000,)))
        for sizes in SIZES:
            experiments = [draw(rng, (options.experiments, size)) for size in sizes]
            cells = []
            for interval_of, statistic in (
                (percentile_interval, mean),
                (bootstrap_interval, mean),
                (bootstrap_interval, iqm),
                (bootstrap_interval, median),
            ):
                truth = statistic([population])
                low, high = interval_of(experiments, statistic, np.random.default_rng(0))
                cells.append(f"{((low <= truth) & (truth <= high)).mean():.3f}")
            runs = str(sizes[0]) + (f" in {len(sizes)} environments" if len(sizes) > 1 else "")
            print(f"| {name} | {runs} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
