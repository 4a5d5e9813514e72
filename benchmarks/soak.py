"""A long cheap run: is memory flat, and does a checkpoint cost the same late as early?

Then parallel runs in one sweep folder, against the same runs one after another: no row lost, none
mixed. `--steps 100000 --parallel 8` is the full measurement.
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
    """Start `mbrl WORDS` without waiting for it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "mbrl_cli", "train", *words], env=environment)


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """Return the memory that a process holds (Linux)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def rows_of(folder: Path) -> list[list[str]]:
    """Return the rows of metrics.csv."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if len(row) == 3][1:]


def long_run(folder: Path, steps: int) -> list[dict[str, float]]:
    """Run `steps` steps; return memory and the cost of a checkpoint for each tenth of the run."""
    process = start(
        *RUN, f"total_steps={steps}", f"agent.fit_every={steps // 50}", f"hydra.run.dir={folder}"
    )
    memory: dict[int, float] = {}
    reached = 0
    while process.poll() is None:
        time.sleep(0.5)
        if rows := rows_of(folder):
            reached = int(rows[-1][0]) * 10 // steps
        memory[reached] = resident_mib(process)
    if process.returncode:
        raise RuntimeError("the run failed")
    seconds = {int(r[0]): float(r[2]) for r in rows_of(folder) if r[1] == "time/save"}
    found = []
    for tenth in range(10):
        low, high = max(1000, tenth * steps // 10), (tenth + 1) * steps // 10
        if high not in seconds or low not in seconds or high == low:
            continue
        cost = (seconds[high] - seconds[low]) / ((high - low) / 1000)
        found.append({
            "env_step": high, "resident_mib": round(memory.get(tenth, 0.0), 1),
            "checkpoint_ms": round(1000 * cost, 2),
        })  # fmt: skip
        print(found[-1], flush=True)
    return found


def parallel_runs(root: Path, number: int) -> bool:
    """Return whether runs in parallel wrote exactly what they write one after another."""
    words = [*RUN, "total_steps=600", "prefill_steps=100", "agent.fit_every=100"]
    together = [
        start(*words, f"seed={i}", f"hydra.run.dir={root}/together/{i}") for i in range(number)
    ]
    if any(process.wait() for process in together):
        raise RuntimeError("a parallel run failed")
    same = True
    for i in range(number):
        start(*words, f"seed={i}", f"hydra.run.dir={root}/alone/{i}").wait()
        one, other = (
            [row for row in rows_of(root / kind / str(i)) if not row[1].startswith("time/")]
            for kind in ("together", "alone")
        )
        same &= one == other and len(one) > 0
        print(f"parallel run {i}: {len(one)} rows, {'the same' if one == other else 'DIFFER'}")
    return same


def main(arguments: list[str]) -> int:
    """Return 0 where the parallel runs are the same as those alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        tenths = long_run(Path(name) / "long", options.steps)
        same = parallel_runs(Path(name), options.parallel)
    if options.out:
        found = {"tenths": tenths, "parallel_same": same}
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
