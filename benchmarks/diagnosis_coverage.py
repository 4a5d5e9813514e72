"""How often do the intervals of `mbrl diagnose` contain the true gain?

The true gain of a variant is its mean over 1,000 pairs of episodes. 200 times 16 of the pairs are
drawn, as a diagnosis plays them, and the 95 % interval of their mean difference is compared with
it. The last column draws 8 pairs at a time, up to 32, and stops when the gain is decided, as a
diagnosis with enough time does. A small model and few plans make the episodes cheap. Train a run
first, then measure it:

    mbrl train env=pendulum agent=mpc model=ensemble model.num_members=1 model.num_elites=1 \
        model.hidden=[16] planner=icem planner.population=30 planner.horizon=10 \
        env.max_episode_steps=100 total_steps=800 prefill_steps=200 hydra.run.dir=/tmp/pendulum
    python benchmarks/diagnosis_coverage.py /tmp/pendulum --variants "true model" \
        "2 times the horizon" --save /tmp/pendulum.npz
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from mbrl_cli.api.loading import load_run
from mbrl_cli.diagnosis.attribution import MAX_EPISODES, relevant_gain
from mbrl_cli.diagnosis.diagnose import DEFAULT_EPISODES
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.paired_interval import gain_interval
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variants import AS_IS, first_variants, model_parts

AT_ONCE = 250  # episodes that are played in parallel


def main() -> None:
    """Print one row for each variant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder, or the file of --save")
    parser.add_argument("--variants", nargs="+", help="names of variants; default: all")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--drawn", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the repetitions")
    parser.add_argument("--save", type=Path, help="file for the returns of all episodes")
    words = parser.parse_args()
    if words.run.is_file():
        returns = dict(np.load(words.run))
    else:
        returns = played_returns(words.run, words.episodes, words.variants)
    if words.save:
        np.savez(words.save, **returns)
    rng = np.random.default_rng(words.seed)
    columns = [*(f"n={n}" for n in words.drawn), "stopped when decided"]
    print(f"| variant | return | true gain | {' | '.join(columns)} |")
    print("|---" * (3 + len(columns)) + "|")
    base = returns.pop(AS_IS)
    print(f"| {AS_IS} | {base.mean():.1f} | {' | ' * len(columns)} |")
    for name, values in returns.items():
        difference = values - base
        cells = []
        for n in words.drawn:
            rows = [rng.choice(len(base), n, replace=False) for _ in range(words.repetitions)]
            draws = [(values[drawn], base[drawn]) for drawn in rows]
            cells.append(f"{coverage(draws, difference.mean()):.1%}")
        draws = [stopped(base, values, rng) for _ in range(words.repetitions)]
        cells.append(f"{coverage(draws, difference.mean()):.1%}")
        print(f"| {name} | {values.mean():.1f} | {difference.mean():+.2f} | {' | '.join(cells)} |")


def coverage(draws: list[tuple[np.ndarray, np.ndarray]], truth: float) -> float:
    """Return the fraction of draws (returns [n], base [n]) whose interval contains the truth."""
    intervals = [gain_interval(*draw) for draw in draws]
    return float(np.mean([interval.low <= truth <= interval.high for interval in intervals]))


def stopped(
    base: np.ndarray, values: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return both returns of as many pairs as a diagnosis plays until the gain is decided."""
    drawn = rng.choice(len(base), MAX_EPISODES, replace=False)
    for count in range(DEFAULT_EPISODES, MAX_EPISODES + 1, DEFAULT_EPISODES):
        one, other = base[drawn[:count]], values[drawn[:count]]
        gain = gain_interval(other, one)
        narrow = gain.high - gain.low < 2.0 * relevant_gain(one, other)
        if gain.is_positive or gain.is_negative or narrow:
            break
    return other, one


def played_returns(folder: Path, count: int, variants: list[str] | None) -> dict[str, np.ndarray]:
    """Return the returns of `count` episodes of each variant, from the same first states."""
    torch.set_num_threads(1)
    run = DiagnosedRun(load_run(folder))
    truth = Truth(run.objects.env, run.new_env, run.objects.device)
    returns = {}
    for variant in first_variants(run, truth, model_parts(run, truth)):
        if variants is not None and variant.name not in {AS_IS, *variants}:
            continue
        start, agent = time.process_time(), variant.make()
        episodes = [
            episode
            for first in range(0, count, AT_ONCE)
            for episode in run.play(run.seeds(min(AT_ONCE, count - first), first), agent)
        ]
        returns[variant.name] = np.array([episode.total for episode in episodes])
        seconds = time.process_time() - start
        print(f"{variant.name}: {seconds:.0f} s of one core", file=sys.stderr, flush=True)
    return returns


if __name__ == "__main__":
    main()
