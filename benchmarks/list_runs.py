"""Measure how long `mbrl runs` takes for many runs, beside reading the files that it needs.

Each run folder is a copy of a run of a second. In a sweep the runs differ in the seed and
`planner.horizon`. Otherwise each has its own values in every part of its config, so that no part
is parsed once for several runs.

Usage: python benchmarks/list_runs.py --runs 1000
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [
    "env=cartpole", "planner=cem", "total_steps=200", "final_eval_episodes=1", "console=false",
    "device=cpu",
]  # fmt: skip


def write_runs(folder: Path, runs: int, all_differ: bool) -> None:
    """Train one run and write copies of its folder with other settings."""
    source = folder / "source"
    command = [sys.executable, "-m", "mbrl_cli", "train", *WORDS, f"hydra.run.dir={source}"]
    subprocess.run(command, check=True, capture_output=True)
    config = (source / "config.yaml").read_text(encoding="utf-8")
    for run in range(runs):
        path = folder / "runs" / f"sweep{run // 100}" / f"{run}"
        shutil.copytree(source, path)
        text = re.sub("^seed: .*", f"seed: {run}", config, flags=re.MULTILINE)
        text = re.sub("^  horizon: .*", f"  horizon: {run + 1}", text, flags=re.MULTILINE)
        if all_differ:
            for group in ("env", "model", "agent"):
                text = text.replace(f"\n{group}:\n", f"\n{group}:\n  note: {run}\n")
            text = text.replace("env:\n", f"env:\n  note: {run}\n", 1)
        (path / "config.yaml").write_text(text, encoding="utf-8")


def cpu_seconds() -> float:
    """Return the CPU seconds of all child processes so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print the medians of the durations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    results = {}
    for name, all_differ in (("a sweep", False), ("every setting differs", True)):
        with tempfile.TemporaryDirectory() as temporary:
            write_runs(Path(temporary), options.runs, all_differ)
            folder = Path(temporary) / "runs"
            command = [sys.executable, "-m", "mbrl_cli", "runs", str(folder)]
            wall, cpu, reading = [], [], []
            for _ in range(options.rounds):
                start, cpu_start = time.perf_counter(), cpu_seconds()
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                wall.append(time.perf_counter() - start)
                cpu.append(cpu_seconds() - cpu_start)
                start = time.perf_counter()
                for path in [*folder.rglob("config.yaml"), *folder.rglob("metrics.csv")]:
                    path.read_bytes()
                reading.append(time.perf_counter() - start)
            assert f"{options.runs} run" in done.stdout
        values = [statistics.median(values) for values in (wall, cpu, reading)]
        results[name] = dict(zip(("seconds", "cpu_seconds", "read_seconds"), values, strict=True))
        print(
            f"{options.runs} runs, {name}: {values[0]:.2f} s, of which {values[1]:.2f} s CPU, "
            f"start of Python included; finding and reading the files {values[2]:.2f} s"
        )
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
