"""Kill a search at random moments, continue it, and compare it with an uninterrupted one.

    python benchmarks/search_kills.py [--kills 10] [--workers 1] [--seed 0]

With one worker both searches must be equal: trials, values, results of every seed at every step,
ends, and every metrics.csv except `time/`. With more workers the trials depend on their order, so
the journal alone is checked. In both cases each trial is created once, each result is recorded
once, and no trial is missing. Two of three kills are SIGKILL, the third is SIGTERM. The exit code
is 1 if something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from forked_mbrl import import_everything, start_mbrl, wait_for

from mbrl_cli.metrics_csv import METRICS_CSV
from mbrl_cli.search.journal import JOURNAL, Journal
from mbrl_cli.search.trial_record import TrialRecord

TRIALS = 9  # nine fill three rungs
WORDS = [
    "env=gridworld", "agent=mpc", "model=linear", "planner=cem", "total_steps=240",
    "prefill_steps=20", "eval_every=40", "eval_episodes=1", "final_eval_episodes=1",
    "env.max_episode_steps=15", "agent.fit_every=20", "planner.iterations=1", "device=cpu",
    "planner.horizon=int(interval(3,8))", "planner.population=int(interval(5,20))",
    "agent.explore=none,epsilon", f"trials={TRIALS}", "seeds=0,1",
]  # fmt: skip


class KilledSearch:
    """Searches in a scratch folder, killed or not."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root, self.rng = root, rng
        self.kills = 0

    def finish(self, name: str, words: list[str]) -> float:
        """Run a search to its end; return its seconds."""
        started = time.monotonic()
        done = wait_for(start_mbrl(words, self._scratch(f"{name}_0")), self._scratch(f"{name}_0"))
        assert done.code == 0, (words, done)
        return time.monotonic() - started

    def finish_with_kills(
        self, name: str, words: list[str], workers: int, max_kills: int, seconds: float
    ) -> None:
        """Run a search to its end with kills at random moments within `seconds` of each start.

        Args:
            name: of the search.
            words: its command.
            workers: processes at the same time; all are killed together.
            max_kills: no more kills than this.
            seconds: between two kills at most.
        """
        kills = 0
        while True:
            scratch = [self._scratch(f"{name}_{k}") for k in range(workers)]
            children = [start_mbrl(words, folder) for folder in scratch]
            if kills < max_kills:
                time.sleep(self.rng.uniform(0.0, seconds))
                number = signal.SIGTERM if kills % 3 == 2 else signal.SIGKILL
                for child in children:
                    os.kill(child, number)
            codes = {wait_for(c, f).code for c, f in zip(children, scratch, strict=True)}
            if codes == {0}:
                return
            if kills >= max_kills:
                texts = [(folder / "stderr").read_text() for folder in scratch]
                raise AssertionError(f"{words}: exit codes {codes}, {texts}")
            kills += 1
            self.kills += 1

    def _scratch(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder


def plain(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    """Return what two equal searches have in common."""
    return [(r.number, r.values, r.rung, r.results, r.end, r.reason) for r in records]


def metrics(folder: Path) -> dict[str, list[str]]:
    """Return the rows of every metrics.csv, without `time/`, which differ between processes."""
    return {
        str(path.relative_to(folder)): [
            line for line in path.read_text().splitlines() if "time/" not in line
        ]
        for path in sorted(folder.rglob(METRICS_CSV))
    }


def faults_of_journal(folder: Path) -> list[str]:
    """Return what is lost or repeated in a complete search."""
    created, results = 0, Counter()
    for line in (folder / JOURNAL).read_text().splitlines():
        entry = json.loads(line)
        created += "params" in entry
        for key in entry.get("user_attr", {}):
            if "/" in key:
                results[entry["trial_id"], key] += 1
    faults = [f"{key}: recorded {n} times" for key, n in results.items() if n > 1]
    records = Journal(folder).records()
    numbers = [record.number for record in records]
    if created != TRIALS or numbers != list(range(TRIALS)):
        faults.append(f"trials {numbers}, {created} created instead of {TRIALS}")
    faults += [f"trial {r.number}: has not ended" for r in records if not r.end]
    faults += [f"trial {r.number}: no result, {r.reason}" for r in records if not r.results]
    return faults


def main() -> None:
    """Print one line for each search and exit with 1 if one of them differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import_everything()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        search = KilledSearch(root, random.Random(options.seed))
        index = 0
        while search.kills < options.kills:
            words = ["search", *WORDS, f"search_seed={index}"]
            whole, killed = root / f"whole_{index}", root / f"killed_{index}"
            seconds = search.finish("whole", [*words, f"hydra.sweep.dir={whole}"])
            before = search.kills
            search.finish_with_kills(
                "killed", [*words, f"hydra.sweep.dir={killed}"], options.workers,
                options.kills - before, seconds / 2,
            )  # fmt: skip
            found = faults_of_journal(killed)
            if options.workers == 1:
                if plain(Journal(whole).records()) != plain(Journal(killed).records()):
                    found.append("the trials differ")
                if metrics(whole) != metrics(killed):
                    found.append("a metrics.csv differs")
            print(
                f"search {index}: {seconds:.0f} s without kills; {search.kills - before} kills, "
                f"{TRIALS} trials: {'; '.join(found) or 'equal, none lost or repeated'}",
                flush=True,
            )
            faults += found
            index += 1
    print(f"{search.kills} kills, {options.workers} workers, {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
