"""Replay `mbrl search` on recorded runs, against random search that takes twice the steps.

    python benchmarks/search_replay.py SEARCH_FOLDER [SEARCH_FOLDER ...] [--random-trials 8]

The folders are searches of one task with `sampler=random pruning=false`: each of their trials has
an evaluation at every step at which trials are compared. A run that is paused and continued equals
one that was never paused, so no run is needed. In each of many draws, random search has the first
trials of a random order, and the search as many trials of the same order as fit into half of the
steps. It samples randomly, so the gain of `sampler=tpe` is left out. The score is the mean final
return of the best trial. Random search selects by this score, the search does so among its
finalists alone: this favours random search. Also printed: the rank correlation of the returns at
each rung with the final ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from mbrl_cli.api.loading import load_run
from mbrl_cli.search.definition import Definition
from mbrl_cli.search.journal import Journal
from mbrl_cli.search.schedule import Job
from mbrl_cli.search.trial_record import SeedResult, TrialRecord

Curve = dict[int, float]  # environment steps -> mean return over the seeds of a trial


def curves_of(folder: Path, definition: Definition) -> list[Curve]:
    """Return the returns of each complete trial of a search; the last one is the final return."""
    curves = []
    for record in Journal(folder).records():
        if record.end != "complete":
            continue
        runs = [
            load_run(folder / f"trial_{record.number:04d}" / f"seed_{seed}")
            for seed in definition.settings.seeds
        ]
        found = [run.metrics(["eval/return"])["eval/return"] for run in runs]
        curve = dict(
            zip(
                found[0]["env_step"].tolist(),
                np.mean([values["value"] for values in found], axis=0).tolist(),
                strict=True,
            )
        )
        curves.append({**curve, definition.rungs[-1]: record.mean(record.rung)})
    return curves


def replay(definition: Definition, curves: Sequence[Curve]) -> float:
    """Return the final return of the trial that the search finds best."""
    schedule, rungs = definition.schedule(), definition.rungs
    records: list[TrialRecord] = []
    while True:
        job = schedule.next_job(records, lambda number: False)
        if not isinstance(job, Job):
            return max(record.mean(len(rungs) - 1) for record in records)
        number = len(records) if job.trial is None else job.trial.number
        if job.trial is None:
            records.append(TrialRecord(number, number, {}, job.rung))
        result = SeedResult(curves[number][rungs[job.rung]], 0, 0)
        results = {
            **records[number].results,
            job.rung: dict.fromkeys(definition.settings.seeds, result),
        }
        is_last = job.rung == len(rungs) - 1
        records[number] = TrialRecord(
            number, number, {}, job.rung, results, "complete" if is_last else ""
        )


def main() -> None:
    """Print the rank correlations, and the mean score of both kinds of search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--random-trials", type=int, default=8)
    parser.add_argument("--draws", type=int, default=500)
    options = parser.parse_args()
    first = Definition.load(options.folders[0], trust=True)
    curves = [
        curve
        for folder in options.folders
        for curve in curves_of(folder, Definition.load(folder, trust=True))
    ]
    seeds, total = first.settings.seeds, first.rungs[-1]
    settings = replace(
        first.settings,
        pruning=True,
        max_steps=options.random_trials * len(seeds) * total // 2,
    )
    definition, _ = Definition.checked(first.words, first.space, settings, first.config_dir)
    final = [curve[total] for curve in curves]
    for rung in definition.rungs[:-1]:
        correlation = spearmanr([curve[rung] for curve in curves], final)[0]
        print(f"rank correlation with the final return after {rung} steps: {correlation:.2f}")
    rng = np.random.default_rng(0)
    differences, scores = [], []
    for _ in range(options.draws):
        order = rng.permutation(len(curves))[: definition.settings.trials]
        drawn = [curves[index] for index in order]
        scores.append(max(curve[total] for curve in drawn[: options.random_trials]))
        differences.append(replay(definition, drawn) - scores[-1])
    low, high = np.quantile(differences, [0.1, 0.9])
    print(
        f"{len(curves)} trials, {options.draws} draws: random search with {options.random_trials} "
        f"trials {np.mean(scores):.2f}; search with {definition.settings.trials} trials in half of "
        f"the steps {np.mean(scores) + np.mean(differences):.2f}; difference "
        f"{np.mean(differences):+.2f}, 10 and 90 % of the draws {low:+.2f} and {high:+.2f}"
    )


if __name__ == "__main__":
    main()
