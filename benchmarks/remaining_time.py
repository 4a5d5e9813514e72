"""Compare the remaining time that a run shows on a terminal with the true one.

    python benchmarks/remaining_time.py --picture remaining_time.png
    python benchmarks/remaining_time.py --run "env=cartpole total_steps=300" --run "env=pendulum"
    OMP_NUM_THREADS=1 python benchmarks/remaining_time.py --cpu-time

Each run is started in a pseudo-terminal, one after the other. The script reads the live line, notes
the remaining time that it shows, and compares it with the time until the run's last line. For each
run it prints the largest factor between both from 10 % and from 20 % of the run's duration on, and
the longest time without output. Times below `FLOOR` seconds count as `FLOOR`. A lower bound
("> 0:01:00 left") counts as a prediction. While "estimating" is shown there is none. The script
prints until when each of these is shown.

With --cpu-time the clock is the CPU time of the run, so the result does not depend on what else the
machine does. The estimates are then read after each step of the run instead of from the terminal.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import multiprocessing
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
import time
from pathlib import Path
from typing import Any

COLUMNS = 120
FLOOR = 2.0  # seconds
LAST_LINE = b"next      mbrl"
# Parts of a run's duration from which on the predictions are judged.
JUDGED_FROM = (0.1, 0.2)
RUNS = (
    "env=cartpole planner=cem",
    "env=pendulum agent=pets",
    "env=gridworld planner=mcts",
    "env=cartpole agent=mbpo",
    "env=pendulum agent=sac total_steps=5000",
)
SHOWN = re.compile(rb"(?:(> )?(\d+):(\d\d):(\d\d) left|(estimating))")


def watch(words: str, folder: Path) -> dict[str, Any]:
    """Run `mbrl train WORDS` in a pseudo-terminal; return what it showed and when."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "mbrl_cli", "train", *words.split()]
    start = last = time.monotonic()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
        env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    # Time, predicted seconds (None: estimating), whether they are a lower bound.
    shown: list[tuple[float, float | None, bool]] = []
    silence, silent_at, lines = 0.0, 0.0, b""
    end: float | None = None
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the process has closed the terminal
            break
        now = time.monotonic()
        if now - last > silence:
            silence, silent_at = now - last, last - start
        last = now
        lines = (lines + part)[-65536:]
        if end is None and LAST_LINE in lines:
            end = now - start
        found = SHOWN.findall(part)
        if found:
            bound, hours, minutes, seconds, estimating = found[-1]
            value = None if estimating else 3600.0 * int(hours) + 60 * int(minutes) + int(seconds)
            shown.append((now - start, value, bool(bound)))
    code = process.wait()
    os.close(ours)
    if code or end is None:
        raise SystemExit(f"mbrl train {words}: exit code {code}\n{lines.decode(errors='replace')}")
    return {
        "run": words, "seconds": end, "longest_silence": silence, "silent_at": silent_at,
        "shown": shown,
    }  # fmt: skip


def watch_cpu_time(words: str, folder: Path) -> dict[str, Any]:
    """Run `mbrl train WORDS` in a new process; return its estimates and when they were made."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_record, (words, folder))


def _record(words: str, folder: Path) -> dict[str, Any]:
    from mbrl_cli.cli import main
    from mbrl_cli.console.run_progress import RunProgress
    from mbrl_cli.stopwatch import Stopwatch

    shown: list[tuple[float, float | None, bool]] = []

    def recorded(method: Any) -> Any:
        def call(progress: RunProgress, *arguments: Any, **more: Any) -> None:
            method(progress, *arguments, **more)
            seconds = progress.seconds_left()
            value = None if seconds is None else float(round(seconds))
            shown.append((time.process_time(), value, progress.is_lower_bound()))

        return call

    for name in (
        "end_step", "start_update", "end_update", "start_evaluation", "end_round", "end_evaluation",
    ):  # fmt: skip
        setattr(RunProgress, name, recorded(getattr(RunProgress, name)))
    Stopwatch.__init__.__defaults__ = (time.process_time,)
    os.chdir(folder)
    sys.argv = ["mbrl", "train", *words.split()]
    main()
    return {
        "run": words, "seconds": time.process_time(), "longest_silence": 0.0, "silent_at": 0.0,
        "shown": shown,
    }  # fmt: skip


def judge(result: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of one run that the table shows."""
    end = result["seconds"]
    row = {"run": result["run"], "seconds": end}
    for start in JUDGED_FROM:
        factors = [
            (_factor(end - t, value), 100 * t / end)
            for t, value, _ in result["shown"]
            if t >= start * end and value is not None
        ]
        factor, percent = max(factors, default=(1.0, 0.0))
        name = f"{100 * start:.0f} %"
        row |= {f"factor from {name}": factor, f"largest from {name} at %": percent}
    estimating = [t for t, value, _ in result["shown"] if value is None]
    bounds = [t for t, _, is_bound in result["shown"] if is_bound]
    return row | {
        "estimating until %": 100 * max(estimating, default=0.0) / end,
        "lower bound until %": 100 * max(bounds, default=0.0) / end,
        "longest silence, s": result["longest_silence"],
        "silent at, s": result["silent_at"],
    }


def _factor(true: float, predicted: float) -> float:
    true, predicted = max(true, FLOOR), max(predicted, FLOOR)
    return max(true / predicted, predicted / true)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw predicted against true remaining time, with the factors 1/2 and 2."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    figure, axes = plt.subplots(figsize=(7, 6.5))
    largest = max(result["seconds"] for result in results)
    line = [FLOOR, largest]
    axes.fill_between(
        line, [x / 2 for x in line], [x * 2 for x in line], color="0.9", label="factor 2"
    )
    axes.plot(line, line, color="0.5", linewidth=1)
    for result in results:
        end = result["seconds"]
        points = [
            (end - t, max(value, FLOOR / 2))
            for t, value, _ in result["shown"]
            if value is not None and end - t >= FLOOR / 2
        ]
        label = f"{textwrap.shorten(result['run'], 60, placeholder=' …')} ({end:.0f} s)"
        (curve,) = axes.plot(*zip(*points, strict=True), linewidth=1.5, label=label)
        axes.axvline(
            (1 - JUDGED_FROM[0]) * end, color=curve.get_color(), linewidth=0.7, linestyle=":"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_xlabel("true remaining time (s); dotted: 10 % of the run")
    axes.set_ylabel("remaining time on the terminal (s)")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FormatStrFormatter("%g"))
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main() -> None:
    """Watch the runs, print a table, and write picture and JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", action="append", help="words after `mbrl train`; repeatable")
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time of the runs")
    parser.add_argument("--picture", type=Path, help="file for the picture (extra plot)")
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for words in options.run or RUNS:
            measure = watch_cpu_time if options.cpu_time else watch
            results.append(measure(words, Path(folder)))
            row = judge(results[-1])
            print("  ".join(f"{k} {v:.1f}" if isinstance(v, float) else v for k, v in row.items()))
            sys.stdout.flush()
    worst = max(judge(result)["factor from 10 %"] for result in results)
    silence = max(result["longest_silence"] for result in results)
    print(f"worst factor {worst:.2f}, longest silence {silence:.1f} s")
    if options.out:
        options.out.write_text(json.dumps(results) + "\n")
    if options.picture:
        draw(results, options.picture)


if __name__ == "__main__":
    main()
