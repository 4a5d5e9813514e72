"""Timing of interleaved jobs and tables of results, shared by the benchmarks."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

GEMM_SIZE = 2048


def time_interleaved(
    jobs: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Run each job once per round, after a round of warm-up; return the seconds by job and round.

    The jobs are interleaved, so other load on the machine slows all of them down alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for round_number in range(rounds + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def gemm_job(device: torch.device) -> Callable[[], object]:
    """Return a job that multiplies two float32 matrices: a measure of the machine's peak rate."""
    a, b = (torch.randn(GEMM_SIZE, GEMM_SIZE, device=device) for _ in range(2))
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=out)
        synchronize(device)

    return multiply


def peak_flops(seconds: Sequence[float]) -> float:
    """Return the floating-point operations per second of `gemm_job` in the median round."""
    return 2.0 * GEMM_SIZE**3 / median(seconds)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def report(rows: Sequence[Mapping[str, Any]], out: Path | None, **settings: Any) -> None:
    """Print the rows as a table; write rows, settings and machine as JSON to `out` if given."""
    columns = list(rows[0])
    cells = [columns, *([_text(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if out:
        machine = f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads"
        content = {"torch": torch.__version__, "machine": machine, **settings, "rows": list(rows)}
        out.write_text(json.dumps(content, indent=2) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
