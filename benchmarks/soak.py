"""Soak test: memory and checkpoint time of a long run, and the rows of parallel runs.

First a long, cheap run: neither its memory nor the time of a checkpoint may grow. Then runs in
parallel in one folder, compared with the same runs one after another: metrics.csv must be equal.
`--steps 100000 --parallel 8` is the full measurement.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN = [
    "env=cartpole", "agent=mpc", "model=linear", "planner=random_shooting", "planner.horizon=3",
    "planner.population=8", "prefill_steps=500", "eval_every=0", "final_eval_episodes=1",
    "checkpoint_every=1000", "log_every=1000", "threads=1", "device=cpu", "console=false",
]  # fmt: skip


def start(*words: str) -> subprocess.Popen[bytes]:
    """Start `mbrl train` with these arguments and return the process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "mbrl_cli", "train", *words], env=environment)


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """Return the resident memory of a process in MiB (Linux)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def rows_of(folder: Path) -> list[list[str]]:
    """Return the complete rows of metrics.csv without its header."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if len(row) == 3][1:]


def long_run(folder: Path, steps: int) -> list[dict[str, float]]:
    """Return memory and the mean time of a checkpoint for each tenth of a run of `steps` steps."""
    process = start(
        *RUN, f"total_steps={steps}", f"agent.fit_every={steps // 50}", f"hydra.run.dir={folder}"
    )
    memory: dict[int, float] = {}
    tenth_reached = 0
    while process.poll() is None:
        time.sleep(0.5)
        if rows := rows_of(folder):
            tenth_reached = int(rows[-1][0]) * 10 // steps
        memory[tenth_reached] = resident_mib(process)
    if process.returncode:
        raise RuntimeError("the run failed")
    seconds = {int(r[0]): float(r[2]) for r in rows_of(folder) if r[1] == "time/save"}
    results = []
    for tenth in range(10):
        low, high = max(1000, tenth * steps // 10), (tenth + 1) * steps // 10
        if high not in seconds or low not in seconds or high == low:
            continue
        seconds_each = (seconds[high] - seconds[low]) / ((high - low) / 1000)
        results.append({
            "env_step": high, "resident_mib": round(memory.get(tenth, 0.0), 1),
            "checkpoint_ms": round(1000 * seconds_each, 2),
        })  # fmt: skip
        print(results[-1], flush=True)
    return results


def parallel_runs(root: Path, number: int) -> bool:
    """Return whether `number` parallel runs write the same rows as one after another."""
    words = [*RUN, "total_steps=600", "prefill_steps=100", "agent.fit_every=100"]
    processes = [
        start(*words, f"seed={i}", f"hydra.run.dir={root}/parallel/{i}") for i in range(number)
    ]
    if any(process.wait() for process in processes):
        raise RuntimeError("a parallel run failed")
    same = True
    for i in range(number):
        start(*words, f"seed={i}", f"hydra.run.dir={root}/sequential/{i}").wait()
        one, other = (
            [row for row in rows_of(root / kind / str(i)) if not row[1].startswith("time/")]
            for kind in ("parallel", "sequential")
        )
        same &= one == other and len(one) > 0
        print(f"parallel run {i}: {len(one)} rows, {'equal' if one == other else 'DIFFER'}")
    return same


def main(arguments: list[str]) -> int:
    """Return 0 if the parallel runs equal the sequential ones, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--out", type=Path, help="file for the results as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        tenths = long_run(Path(name) / "long", options.steps)
        same = parallel_runs(Path(name), options.parallel)
    if options.out:
        results = {"tenths": tenths, "parallel_same": same}
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
