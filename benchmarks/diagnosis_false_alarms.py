"""Which findings does a diagnosis report about runs with a good return?

Learning health and, for agents with a model, its accuracy are measured on the newest checkpoint of
each run. What is graded as a problem there is a false alarm.

    python benchmarks/diagnosis_false_alarms.py outputs/RUN1 outputs/RUN2
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import torch

from mbrl_cli.api.loading import load_run
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.learning_health import learning_health
from mbrl_cli.diagnosis.model_accuracy import model_accuracy
from mbrl_cli.seeding import torch_generator


def main() -> None:
    """Print a line for each run, then a table of the grades of each fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--max-steps", type=int, help="episodes are cut after this number of steps")
    words = parser.parse_args()
    torch.set_num_threads(1)
    grades: dict[str, Counter[str]] = {}
    for folder in words.runs:
        start, run = time.process_time(), DiagnosedRun(load_run(folder))
        generator = torch_generator(run.run.seed, "diagnosis")
        episodes = run.play(run.seeds(words.episodes), max_steps=words.max_steps)
        sections = [learning_health(run, episodes, generator)]
        if run.model is not None:
            sections += model_accuracy(run, episodes, generator)
        found = [finding for section in sections for finding in section.findings]
        for finding in found:
            grades.setdefault(finding.fault, Counter())[finding.severity] += 1
        mean = sum(episode.total for episode in episodes) / len(episodes)
        seconds = time.process_time() - start
        print(f"{folder}: return {mean:.4g}, {seconds:.0f} s of one core")
        for finding in found:
            if finding.severity != "fine":
                print(
                    f"  {finding.severity} {finding.confidence:.2f} {finding.fault}: {finding.text}"
                )
    print("\n| fault | runs | problems | notes |\n|---|---|---|---|")
    for fault, counts in sorted(grades.items()):
        total = sum(counts.values())
        print(f"| `{fault}` | {total} | {counts['problem']} | {counts['note']} |")


if __name__ == "__main__":
    main()
