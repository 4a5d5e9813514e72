"""Processor time and memory of the parts of a diagnosis; the substitution takes what budget= says.

python benchmarks/diagnosis_cost.py outputs/RUN [--max-steps 200]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from mbrl_cli.api.loading import load_run
from mbrl_cli.diagnosis.data_check_section import data_checks
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.learning_health import learning_health
from mbrl_cli.diagnosis.model_accuracy import model_accuracy
from mbrl_cli.seeding import torch_generator

Result = TypeVar("Result")
EPISODES = 8


def main() -> None:
    """Print one row of a table for the run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--max-steps", type=int, help="episodes are cut after this number of steps")
    words = parser.parse_args()
    torch.set_num_threads(1)
    cells = []

    def measure(part: Callable[[], Result]) -> Result:
        start, before = time.process_time(), _peak_mib()
        result = part()
        seconds, memory = time.process_time() - start, _peak_mib() - before
        cells.append(f"{seconds:.1f} s, +{memory:.0f} MB")
        return result

    run = measure(lambda: DiagnosedRun(load_run(words.run)))
    generator = torch_generator(run.run.seed, "diagnosis")
    measure(lambda: data_checks(run, generator))
    episodes = measure(lambda: run.play(run.seeds(EPISODES), max_steps=words.max_steps))
    measure(lambda: model_accuracy(run, episodes, generator))
    measure(lambda: learning_health(run, episodes, generator))
    steps = sum(len(episode) for episode in episodes)
    print("| run | steps | load | data | as saved | model | learning | peak |")
    print(f"| {words.run} | {steps:,} | {' | '.join(cells)} | {_peak_mib():.0f} MB |")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
