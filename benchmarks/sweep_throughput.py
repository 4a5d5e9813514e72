"""Measure sweeps: several jobs at a time against two, and the state of many finished runs.

Part `jobs` runs a sweep of two jobs and one of eight with `hydra/launcher=joblib`, two jobs at a
time, and prints the ratio of their durations. Eight jobs on two cores need four times as long as
two if nothing is lost. Each sweep is run `--rounds` times in turn.

Part `state` copies a finished run, so that a sweep has `--runs` of them, and measures
`mbrl resume SWEEP` up to the line that states how many have finished, and up to its end, with the
comparison. It also measures `mbrl runs SWEEP`.

Usage: python benchmarks/sweep_throughput.py --part jobs
       python benchmarks/sweep_throughput.py --part state --runs 1000
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MBRL = [sys.executable, "-m", "mbrl_cli"]
JOB = [
    "env=pendulum", "agent=pets", "total_steps=1200", "prefill_steps=200", "eval_every=0",
    "final_eval_episodes=1", "console=false", "device=cpu",
]  # fmt: skip
PARALLEL = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
SMALL = [
    "env=cartpole", "agent=random", "total_steps=60", "prefill_steps=0", "eval_every=0",
    "final_eval_episodes=5", "console=false", "device=cpu",
]  # fmt: skip


def cpu_seconds() -> float:
    """Return the CPU seconds of all child processes so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def time_jobs(folder: Path, jobs: int, threads: str) -> tuple[float, float]:
    """Return wall and CPU seconds of a sweep of `jobs` seeds, two at a time."""
    seeds = f"seed={','.join(map(str, range(jobs)))}"
    command = [*MBRL, "train", "-m", *JOB, seeds, *PARALLEL, f"threads={threads}"]
    start, cpu_start = time.perf_counter(), cpu_seconds()
    subprocess.run([*command, f"hydra.sweep.dir={folder}"], check=True, capture_output=True)
    return time.perf_counter() - start, cpu_seconds() - cpu_start


def measure_jobs(rounds: int, threads: str) -> dict[str, float]:
    """Print and return the durations of sweeps of two and eight jobs, medians of the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in ("2", "8", "2 cpu", "8 cpu")}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds):
            for jobs in (2, 8):
                wall, cpu = time_jobs(Path(temporary) / f"{jobs}_{number}", jobs, threads)
                seconds[str(jobs)].append(wall)
                seconds[f"{jobs} cpu"].append(cpu)
    result = {name: statistics.median(values) for name, values in seconds.items()}
    result["ratio"] = result["8"] / result["2"]
    result["ratio cpu"] = result["8 cpu"] / result["2 cpu"]
    print(
        f"threads={threads}: 2 jobs {result['2']:.1f} s (CPU {result['2 cpu']:.1f} s), 8 jobs "
        f"{result['8']:.1f} s (CPU {result['8 cpu']:.1f} s), ratio {result['ratio']:.2f} "
        f"(CPU {result['ratio cpu']:.2f})"
    )
    return result


def write_sweep(folder: Path, runs: int) -> list[str]:
    """Write a sweep of finished runs; return the words of the sweep."""
    words = ["-m", *SMALL, f"seed=range(0,{runs})", f"hydra.sweep.dir={folder}"]
    first = [*words[:-2], "seed=0,1", words[-1]]
    subprocess.run([*MBRL, "train", *first], check=True, capture_output=True)
    config = (folder / "s0" / "config.yaml").read_text(encoding="utf-8")
    job = json.loads((folder / "s0" / "job.json").read_text(encoding="utf-8"))
    for seed in range(2, runs):
        run = folder / f"s{seed}"
        shutil.copytree(folder / "s0", run)
        text = re.sub("^seed: .*", f"seed: {seed}", config, flags=re.MULTILINE)
        (run / "config.yaml").write_text(text, encoding="utf-8")
        overrides = [f"seed={seed}" if w == "seed=0" else w for w in job["overrides"]]
        (run / "job.json").write_text(json.dumps({"overrides": overrides}), encoding="utf-8")
    return words


def time_state(folder: Path) -> tuple[float, float, float]:
    """Return the seconds of `mbrl resume` up to its first line, of CPU up to it, up to its end."""
    start = time.perf_counter()
    with subprocess.Popen([*MBRL, "resume", str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        first = time.perf_counter() - start
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        first_cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        process.stdout.read()
    assert process.returncode == 0
    assert re.search(r": ([\d,]+) runs: \1 finished$", line.rstrip()), line
    return first, first_cpu, time.perf_counter() - start


def measure_state(rounds: int, runs: int) -> dict[str, float]:
    """Print and return the durations of commands in a sweep of finished runs."""
    names = ("state", "state cpu", "end", "runs", "runs cpu")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "sweep"
        words = write_sweep(folder, runs)
        subprocess.run([*MBRL, "train", *words], check=True, capture_output=True)
        for _ in range(rounds):
            times = time_state(folder)
            start, cpu_start = time.perf_counter(), cpu_seconds()
            subprocess.run([*MBRL, "runs", str(folder)], check=True, capture_output=True)
            seconds["runs"].append(time.perf_counter() - start)
            seconds["runs cpu"].append(cpu_seconds() - cpu_start)
            for name, value in zip(names, times, strict=False):
                seconds[name].append(value)
    result = {name: min(values) for name, values in seconds.items()}
    print(
        f"{runs} finished runs: mbrl resume states it after {result['state']:.2f} s (CPU "
        f"{result['state cpu']:.2f} s), ends after {result['end']:.2f} s; mbrl runs takes "
        f"{result['runs']:.2f} s (CPU {result['runs cpu']:.2f} s); smallest of {rounds}, start of "
        "Python included"
    )
    return result


def main() -> None:
    """Measure the chosen part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=("jobs", "state"), required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--threads", default="auto", help="threads= of each job")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    if options.part == "jobs":
        result = measure_jobs(options.rounds, options.threads)
    else:
        result = measure_state(options.rounds, options.runs)
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
