"""Measure how long `mbrl compare` takes for many long runs, beside reading their files.

Usage: python benchmarks/compare_runs.py --runs 200 --rows 10000
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONFIG = """\
env: {{id: CartPole-v1, obs: vector, action_repeat: 1}}
model: {{_target_: mbrl_cli.models.ensemble.Ensemble}}
planner: {{_target_: mbrl_cli.planners.cem.CEM, horizon: {horizon}}}
agent: {{_target_: mbrl_cli.agents.mpc.MPC}}
seed: {seed}
total_steps: 100000
"""
TAGS = 20  # of each run; one of them is eval/return
SEEDS = 20


def write_runs(folder: Path, runs: int, rows: int) -> None:
    """Write finished runs: groups of 20 seeds that differ in `planner.horizon`."""
    tags = ["eval/return", *(f"model/number_{k}" for k in range(TAGS - 1))]
    for run in range(runs):
        path = folder / f"run{run}"
        path.mkdir()
        rng = np.random.default_rng(run)
        (path / "config.yaml").write_text(CONFIG.format(horizon=run // SEEDS, seed=run % SEEDS))
        steps = np.linspace(100, 100_000, rows // TAGS).astype(int)
        values = rng.normal(300, 50, (len(steps), TAGS))
        lines = [
            f"{step},{tag},{value!r}"
            for step, row in zip(steps.tolist(), values.tolist(), strict=True)
            for tag, value in zip(tags, row, strict=True)
        ]
        (path / "metrics.csv").write_text("\n".join(["env_step,tag,value", *lines, ""]))
        (path / "checkpoint.safetensors").write_bytes(b"")


def cpu_of_children() -> float:
    """Return the CPU seconds of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print the medians of both durations and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_runs(folder, options.runs, options.rows)
        command = [sys.executable, "-m", "mbrl_cli", "compare", str(folder), "--html"]
        seconds, cpu, reading = [], [], []
        for _ in range(options.rounds):
            start, cpu_before = time.perf_counter(), cpu_of_children()
            subprocess.run([*command, str(folder / "r.html")], check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
            cpu.append(cpu_of_children() - cpu_before)
            start = time.perf_counter()
            size = sum(len(path.read_bytes()) for path in folder.rglob("metrics.csv"))
            reading.append(time.perf_counter() - start)
    result = {
        "runs": options.runs, "rows": options.rows, "megabytes": size / 1e6,
        "compare_seconds": statistics.median(seconds), "cpu_seconds": statistics.median(cpu),
        "read_seconds": statistics.median(reading),
    }  # fmt: skip
    print(
        f"{options.runs} runs of {options.rows:,} rows ({result['megabytes']:.0f} MB): "
        f"{result['compare_seconds']:.1f} s, of these {result['cpu_seconds']:.1f} s of one core, "
        "start of Python included; "
        f"reading the bytes {result['read_seconds']:.2f} s"
    )
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
