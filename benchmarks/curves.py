"""Plot evaluation returns by environment steps: a thin line per run, a thick one per group mean.

Usage: python benchmarks/curves.py --out curves.png mbpo=outputs/RUN,outputs/RUN2 sac=outputs/RUN3
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def curve(folder: Path) -> dict[int, float]:
    """Return the evaluation returns of a run by environment step, from its metrics.csv."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {int(r["env_step"]): float(r["value"]) for r in rows if r["tag"] == "eval/return"}


def main() -> None:
    """Read the runs, plot them, and print the last evaluation of each group."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("groups", nargs="+", help="NAME=FOLDER,FOLDER,...")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", default="")
    parser.add_argument("--level", type=float, help="draw a dotted line at this return")
    options = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
    for number, group in enumerate(options.groups):
        name, _, folders = group.partition("=")
        curves = [curve(Path(folder)) for folder in folders.split(",")]
        steps = sorted(set.intersection(*(set(c) for c in curves)))
        values = np.array([[c[step] for step in steps] for c in curves])  # [runs, evaluations]
        colour = f"C{number}"
        axes.plot(steps, values.T, color=colour, alpha=0.25, linewidth=1.0)
        axes.plot(steps, values.mean(0), color=colour, label=f"{name} ({len(curves)} seeds)")
        error = values.std(0, ddof=1) / len(curves) ** 0.5 if len(curves) > 1 else np.zeros(1)
        last = ", ".join(f"{value:.1f}" for value in values[:, -1])
        print(f"{name}: {last} at {steps[-1]}: mean {values[:, -1].mean():.1f} ± {error[-1]:.1f}")
    if options.level is not None:
        axes.axhline(options.level, color="0.5", linestyle=":", linewidth=1.0)
    axes.set(xlabel="environment steps", ylabel="evaluation return", title=options.title)
    axes.grid(alpha=0.2)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(options.out, dpi=130)


if __name__ == "__main__":
    main()
