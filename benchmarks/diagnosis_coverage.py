"""How often do the intervals of `mbrl diagnose` contain the true gain?

The true gain of a variant is its mean over 1,000 pairs of episodes. 200 times 16 of the pairs are
drawn, as a diagnosis plays them, and the 95 % interval of their mean difference is compared with
it. Train a small run first, then measure it:

    mbrl train env=cartpole agent=pets planner=icem planner.horizon=10 env.max_episode_steps=60 \
        total_steps=120 prefill_steps=80 hydra.run.dir=/tmp/small_run
    python benchmarks/diagnosis_coverage.py /tmp/small_run
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mbrl_cli.api.loading import load_run
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.paired_interval import paired_interval
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variants import AS_IS, first_variants, model_parts

AT_ONCE = 250  # episodes that are played in parallel


def main() -> None:
    """Print one row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--drawn", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--repetitions", type=int, default=200)
    words = parser.parse_args()
    torch.set_num_threads(1)
    run = DiagnosedRun(load_run(words.run))
    truth = Truth(run.objects.env, run.new_env, run.objects.device)
    returns = {}
    for variant in first_variants(run, truth, model_parts(run, truth)):
        agent = variant.make()
        episodes = [
            episode
            for first in range(0, words.episodes, AT_ONCE)
            for episode in run.play(run.seeds(min(AT_ONCE, words.episodes - first), first), agent)
        ]
        returns[variant.name] = np.array([episode.total for episode in episodes])
    rng = np.random.default_rng(0)
    print("| variant | return | true gain | " + " | ".join(f"n={n}" for n in words.drawn) + " |")
    print("|---" * (3 + len(words.drawn)) + "|")
    base = returns.pop(AS_IS)
    print(f"| {AS_IS} | {base.mean():.1f} | | " + " | ".join("" for _ in words.drawn) + " |")
    for name, values in returns.items():
        difference = values - base
        cells = []
        for n in words.drawn:
            inside = 0
            for _ in range(words.repetitions):
                interval = paired_interval(rng.choice(difference, n, replace=False))
                inside += interval.low <= difference.mean() <= interval.high
            cells.append(f"{inside / words.repetitions:.1%}")
        print(f"| {name} | {values.mean():.1f} | {difference.mean():+.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
