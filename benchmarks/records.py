"""Evaluation returns of runs on DeepMind Control as a CSV file, and their figure.

The figure shows them beside the published returns in `records/published_dmc.csv`; the bars of those
are standard deviations over seeds.

    python benchmarks/records.py collect benchmarks/records/sac_dmc.csv outputs/*
    python benchmarks/records.py draw benchmarks/records/sac_dmc.csv docs/sac_dmc.png agent=sac
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import mean

import matplotlib

from mbrl_cli.api.run import Run

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PUBLISHED = Path(__file__).parent / "records" / "published_dmc.csv"
FIELDS = "task", "seed", "simulator_steps", "return"


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
    options = parser.parse_args()
    if options.command == "collect":
        collect(options.runs, options.record)
    else:
        draw(options.record, options.picture, options.label)


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


def draw(record: Path, picture: Path, label: str) -> None:
    """Draw one figure per task: each seed, their mean, and the published returns."""
    curves: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in read(record):
        by_step = curves[row["task"]][row["seed"]]
        by_step[int(row["simulator_steps"])] = float(row["return"])
    published = read(PUBLISHED)
    algorithms = list(dict.fromkeys(row["algorithm"] for row in published))
    figure, axes = plt.subplots(
        1, len(curves), figsize=(3.2 * len(curves), 3.4), squeeze=False, layout="constrained"
    )
    for axis, (task, seeds) in zip(axes[0], curves.items(), strict=True):
        for by_step in seeds.values():
            axis.plot(list(by_step), list(by_step.values()), color="C0", alpha=0.35, linewidth=1)
        shared = sorted(set.intersection(*(set(by_step) for by_step in seeds.values())))
        means = [mean(by_step[step] for by_step in seeds.values()) for step in shared]
        axis.plot(shared, means, color="C0", linewidth=2, label=f"{label}, mean (thin: seeds)")
        for number, algorithm in enumerate(algorithms):
            # Side by side, so that the bars at the same number of steps do not hide each other.
            points = [
                (int(row["simulator_steps"]) + 1500 * number, float(row["mean"]), float(row["std"]))
                for row in published
                if row["task"] == task and row["algorithm"] == algorithm
            ]
            steps, values, spreads = zip(*points, strict=True)
            axis.errorbar(
                steps, values, spreads, fmt="o", markersize=4, color=f"C{number + 1}",
                label=algorithm,
            )  # fmt: skip
        axis.set(title=task, xlabel="simulator steps", ylim=(0, 1000))
        axis.set_xticks([0, 50_000, 100_000], ["0", "50,000", "100,000"])
    axes[0][0].set_ylabel("return")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 1 + len(curves)),
        fontsize=8,
    )
    figure.savefig(picture, dpi=110)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
