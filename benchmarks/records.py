"""Evaluation returns of runs on DeepMind Control as a CSV file, and their figure.

The figure shows them beside the published returns in `records/published_dmc.csv`; the bars of those
are standard deviations over seeds, where the source states one. `--sac` adds the mean of our SAC.

    python benchmarks/records.py collect benchmarks/records/sac_dmc.csv outputs/*
    python benchmarks/records.py draw benchmarks/records/sac_dmc.csv docs/sac_dmc.png agent=sac
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from math import ceil
from pathlib import Path
from statistics import mean

import matplotlib
import numpy as np

from mbrl_cli.api.run import Run

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PUBLISHED = Path(__file__).parent / "records" / "published_dmc.csv"
FIELDS = "task", "seed", "simulator_steps", "return"
MAX_COLUMNS = 5  # figures beside each other
PUBLISHED_COLORS = "C1", "C2", "C3", "C4", "C5", "C6"  # of the algorithms in PUBLISHED

Curves = dict[str, dict[str, dict[int, float]]]  # task -> seed -> simulator steps -> return


def main() -> None:
    """Collect or draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="command")
    collecting = commands.add_parser("collect")
    collecting.add_argument("record", type=Path)
    collecting.add_argument("runs", type=Path, nargs="+")
    drawing = commands.add_parser("draw")
    drawing.add_argument("record", type=Path)
    drawing.add_argument("picture", type=Path)
    drawing.add_argument("label", help="what the runs are, for the legend")
    drawing.add_argument("--sac", type=Path, help="record of agent=sac, drawn beside them")
    options = parser.parse_args()
    if options.command == "collect":
        collect(options.runs, options.record)
    else:
        draw(options.record, options.picture, options.label, options.sac)


def collect(folders: list[Path], record: Path) -> None:
    """Write the evaluations of runs to a CSV file, sorted by task and seed."""
    rows = []
    for folder in folders:
        run = Run(folder)
        env = run.config["env"]
        returns = run.metrics(["eval/return"])["eval/return"]
        for step, value in zip(returns["env_step"], returns["value"], strict=True):
            rows.append((env["task"], run.seed, int(step) * env["action_repeat"], f"{value:.1f}"))
    with record.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(sorted(rows))


def draw(record: Path, picture: Path, label: str, sac: Path | None) -> None:
    """Draw one figure per task: each seed, their mean, our SAC, and the published returns."""
    curves = read_curves(record)
    sac_curves = read_curves(sac) if sac else {}
    published = read(PUBLISHED)
    algorithms = list(dict.fromkeys(row["algorithm"] for row in published))
    num_rows = 1 if len(curves) <= MAX_COLUMNS else 2
    num_columns = ceil(len(curves) / num_rows)
    size = 3.2 * num_columns, 2.9 * num_rows + 0.5
    figure, axes = plt.subplots(
        num_rows, num_columns, figsize=size, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    legend = {}
    for axis, (task, seeds) in zip(axes.flat, curves.items(), strict=False):
        for by_step in seeds.values():
            axis.plot(list(by_step), list(by_step.values()), color="C0", alpha=0.35, linewidth=1)
        axis.plot(*mean_curve(seeds), color="C0", linewidth=2, label=f"{label}, mean (thin: seeds)")
        if task in sac_curves:
            axis.plot(
                *mean_curve(sac_curves[task]), "--", color="C7", label="agent=sac of mbrl, mean"
            )
        for number, algorithm in enumerate(algorithms):
            # Side by side, so that the bars at the same number of steps do not hide each other.
            points = [
                # Not all sources state a standard deviation.
                (int(row["simulator_steps"]), float(row["mean"]), float(row["std"] or 0.0))
                for row in published
                if row["task"] == task and row["algorithm"] == algorithm
            ]
            if points:
                steps, values, spreads = np.array(points).T
                axis.errorbar(
                    steps + 1500 * number, values, spreads, fmt="o", markersize=4,
                    color=PUBLISHED_COLORS[number], label=algorithm,
                )  # fmt: skip
        axis.set(title=task, xlabel="simulator steps", ylim=(0, 1030))
        axis.set_xticks([0, 50_000, 100_000], ["0", "50,000", "100,000"])
        handles, labels = axis.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    for first in axes[:, 0]:
        first.set_ylabel("return")
    figure.legend(
        legend.values(),
        legend.keys(),
        loc="outside lower center",
        ncols=min(len(legend), 1 + num_columns),
        fontsize=8,
    )
    figure.savefig(picture, dpi=110)


def read_curves(record: Path) -> Curves:
    """Return the evaluation returns by task, seed and simulator steps."""
    curves: Curves = defaultdict(lambda: defaultdict(dict))
    for row in read(record):
        by_step = curves[row["task"]][row["seed"]]
        by_step[int(row["simulator_steps"])] = float(row["return"])
    return curves


def mean_curve(seeds: dict[str, dict[int, float]]) -> tuple[list[int], list[float]]:
    """Return the steps that all seeds have, and the mean return there."""
    shared = sorted(set.intersection(*(set(by_step) for by_step in seeds.values())))
    return shared, [mean(by_step[step] for by_step in seeds.values()) for step in shared]


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
