"""Wall time and return of whole runs, of this checkout and of another one, interleaved.

python benchmarks/whole_run.py --against ../mbrl_before --seeds 0 1 2 -- env=cartpole planner=cem
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from timing import report

HERE = Path(__file__).resolve().parent.parent


def one_run(checkout: Path, overrides: list[str], seed: int) -> dict[str, float]:
    """Run `mbrl train` from a checkout; return its seconds and its final evaluation return."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mbrl_cli", "train", f"hydra.run.dir={folder}/run"]
        start = time.perf_counter()
        subprocess.run(
            [*command, f"seed={seed}", "console=false", *overrides],
            check=True, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        with (Path(folder) / "run" / "metrics.csv").open() as file:
            last = {row["tag"]: float(row["value"]) for row in csv.DictReader(file)}
    return {"seconds": seconds, "return": last["eval/return"]}


def main() -> None:
    """Measure, print, and write JSON where `--out` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="+", help="env=... planner=... and other keys")
    parser.add_argument("--against", type=Path, help="another checkout; its runs alternate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    checkouts = {"here": HERE}
    if options.against:
        checkouts["against"] = options.against.resolve()
    rows = []
    for seed in options.seeds:
        for name, checkout in checkouts.items():
            rows.append(
                {"checkout": name, "seed": seed, **one_run(checkout, options.overrides, seed)}
            )
    report(rows, options.out, overrides=options.overrides)
    seconds = {n: [r["seconds"] for r in rows if r["checkout"] == n] for n in checkouts}
    if options.against:
        ratio = median(seconds["here"]) / median(seconds["against"])
        print(f"wall time here / against: {ratio:.2f} (ratio of medians)")


if __name__ == "__main__":
    main()
