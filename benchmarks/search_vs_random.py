"""Compare `mbrl search` with random search that takes twice its environment steps.

    python benchmarks/search_vs_random.py --task point_mass --folder outputs/search_vs_random
    python benchmarks/search_vs_random.py --task pendulum_mlp --folder outputs/search_vs_random
    python benchmarks/search_vs_random.py --task rail_mppi --folder outputs/search_vs_random

Both searches are repeated with each of five search seeds. The best trial of each is trained again
on run seeds that no search has used; the mean return of those runs is its score. The same command
continues where it was stopped. One search has the defaults of `mbrl search` and `max_steps`, which
is half of the steps of the other one, `sampler=random pruning=false`. Environment steps are those
of training; in both kinds the evaluations of a run are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from forked_mbrl import import_everything, start_mbrl, wait_for

from mbrl_cli.api.loading import load_run
from mbrl_cli.reports.aggregates import mean
from mbrl_cli.reports.bootstrap import bootstrap_interval
from mbrl_cli.search.definition import Definition
from mbrl_cli.search.journal import Journal
from mbrl_cli.search.report import Report

SEARCH_SEEDS = "10,11,12,13,14"  # others were used to choose tasks and settings
RUN_SEEDS = "0,1"
KINDS = ("search", "random")
SCORE_SEEDS = (20, 21, 22, 23)
RANDOM_TRIALS = 8
COMMON = ["console=false", "device=cpu", "logger=csv", "eval_episodes=4", "final_eval_episodes=20"]
EXAMPLES = Path(__file__).parent.parent / "examples"
TASKS = {
    "point_mass": [
        "--config-dir", str(EXAMPLES / "configs"), "env=point_mass", "agent=mpc", "model=linear",
        "planner=random_shooting", "total_steps=360", "prefill_steps=20", "eval_every=40",
        "env.max_episode_steps=20", "planner.horizon=int(interval(2,20))",
        "planner.population=tag(log,int(interval(3,40)))", "planner.noise_beta=interval(0.0,3.0)",
        "agent.fit_every=20,60",
    ],
    "pendulum_mlp": [
        "env=pendulum", "agent=mpc", "model=mlp", "planner=cem", "total_steps=1080",
        "prefill_steps=60", "eval_every=120", "env.max_episode_steps=60", "agent.fit_every=180",
        "model.hidden=[32,32]", "planner.horizon=int(interval(3,25))",
        "planner.population=10,20,40", "planner.elite_ratio=interval(0.05,0.5)",
        "planner.noise_beta=interval(0.0,3.0)",
        "model.learning_rate=tag(log,interval(1e-4,1e-2))",
    ],
    "rail_mppi": [
        "--config-dir", str(EXAMPLES / "configs"), "env=rail_cart", "agent=mpc", "model=mlp",
        "planner=mppi", "planner.iterations=1", "total_steps=360", "prefill_steps=10",
        "eval_every=40", "env.max_episode_steps=30", "agent.fit_every=60", "model.hidden=[16]",
        "planner.horizon=int(interval(2,20))", "planner.population=tag(log,int(interval(3,40)))",
        "planner.temperature=tag(log,interval(0.03,10.0))", "planner.spread=interval(0.1,1.0)",
        "model.learning_rate=tag(log,interval(1e-4,1e-2))",
    ],
}  # fmt: skip


class Result(NamedTuple):
    """One search: the environment steps of its runs, and the score of its best trial."""

    steps: int
    score: float


def run_mbrl(words: list[str], folder: Path) -> None:
    """Run a command to its end in a forked process."""
    folder.mkdir(parents=True, exist_ok=True)
    done = wait_for(start_mbrl(words, folder), folder)
    assert done.code == 0, (words, done)


def settings_of(task: str, kind: str) -> list[str]:
    """Return the words of a kind of search."""
    if kind == "random":
        return [f"trials={RANDOM_TRIALS}", "sampler=random", "pruning=false"]
    total = next(int(word.partition("=")[2]) for word in TASKS[task] if "total_steps" in word)
    return [f"max_steps={RANDOM_TRIALS * len(RUN_SEEDS.split(',')) * total // 2}"]


def measure(task: str, kind: str, seed: int, root: Path) -> Result:
    """Search with one search seed, or continue it, and score its best trial."""
    folder = root / task / f"{kind}_{seed}"
    words = [*TASKS[task], *COMMON, f"seeds={RUN_SEEDS}", f"search_seed={seed}"]
    words += settings_of(task, kind)
    run_mbrl(["search", *words, f"hydra.sweep.dir={folder}"], folder.with_name(f"{kind}_output"))
    definition, records = Definition.load(folder, trust=True), Journal(folder).records()
    best = Report(definition, records).best
    assert best is not None
    returns = []
    for run_seed in SCORE_SEEDS:
        run = [*definition.run_words(best.values), f"seed={run_seed}"]
        # Both kinds of search may find the same values.
        score = root / task / "scores" / hashlib.sha256(" ".join(run).encode()).hexdigest()[:16]
        if not (score / "config.yaml").exists():
            if definition.config_dir is not None:
                run += ["--config-dir", str(definition.config_dir)]
            run_mbrl(["train", *run, f"hydra.run.dir={score}"], folder.with_name("score_output"))
        elif load_run(score).final_return is None:
            run_mbrl(["resume", str(score)], folder.with_name("score_output"))
        value = load_run(score).final_return
        assert value is not None
        returns.append(value)
    result = Result(sum(record.steps for record in records), float(np.mean(returns)))
    print(f"{kind:<7} seed {seed}  {result.steps:>7,} steps  score {result.score:.2f}", flush=True)
    return result


def main() -> None:
    """Print one line for each search, and the difference of the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", default=SEARCH_SEEDS, help="search seeds")
    options = parser.parse_args()
    sys.path.append(str(EXAMPLES))  # the example environments are modules there
    import_everything()
    results: dict[str, list[Result]] = {kind: [] for kind in KINDS}
    for seed in map(int, options.seeds.split(",")):
        for kind in KINDS:
            results[kind].append(measure(options.task, kind, seed, options.folder.absolute()))
    steps = {kind: sum(r.steps for r in found) for kind, found in results.items()}
    scores = {kind: np.array([r.score for r in found]) for kind, found in results.items()}
    difference = scores["search"] - scores["random"]
    interval = bootstrap_interval([difference], mean, np.random.default_rng(0))
    print(
        f"{options.task}: search {scores['search'].mean():.2f}, random "
        f"{scores['random'].mean():.2f}, difference {difference.mean():+.2f} "
        f"[{float(interval.low):.2f} to {float(interval.high):.2f}] with "
        f"{steps['search'] / steps['random']:.2f} of the environment steps"
    )


if __name__ == "__main__":
    main()
