"""Several workers of one search, some of which are killed: no trial is lost or repeated."""

import json
import multiprocessing
import os
import signal
from collections import Counter

import numpy as np
import pytest

from mbrl_cli.config.search_parameter import parse_parameter
from mbrl_cli.search import worker
from mbrl_cli.search.definition import Definition
from mbrl_cli.search.journal import JOURNAL, Journal
from mbrl_cli.search.settings import Settings

TRIALS, SEEDS, RUNGS = 30, (0, 1), (10, 30, 90)
SPACE = (parse_parameter("planner.horizon=int(interval(1,99))"),)


def work(folder, number, patched):
    """Run a worker that kills itself in one of its first runs, unless `number` is 0."""
    runs, last = [], np.random.default_rng(number).integers(1, 9)

    def fake_run(run, run_folder, pause_at):
        runs.append(1)
        if number and len(runs) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        with (folder / "runs.txt").open("a") as file:  # one short write, so lines do not mix
            file.write(f"{run_folder.relative_to(folder)} {pause_at}\n")
        return pause_at or 90, float(np.random.default_rng(len(runs)).normal())

    patched.setattr(worker, "train_until", fake_run)
    patched.setattr(worker, "ComposedRun", lambda words, config_dir: None)
    worker.Worker(
        folder, Definition((), SPACE, Settings(trials=TRIALS, seeds=SEEDS, sampler="random"), RUNGS)
    ).run()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the workers are forked")
def test_killed_workers_lose_and_repeat_no_trial(tmp_path, monkeypatch):
    fork = multiprocessing.get_context("fork")
    killed = 0
    for number in range(1, 13, 3):  # four times three workers, all of which are killed
        group = [fork.Process(target=work, args=(tmp_path, number + k, monkeypatch))
                 for k in range(3)]  # fmt: skip
        for process in group:
            process.start()
        for process in group:
            process.join()
            killed += process.exitcode == -signal.SIGKILL
    assert killed >= 10
    group = [fork.Process(target=work, args=(tmp_path, 0, monkeypatch)) for _ in range(2)]
    for process in group:
        process.start()
    for process in group:
        process.join()
        assert process.exitcode == 0

    records = Journal(tmp_path).records()
    assert [record.number for record in records] == list(range(TRIALS))
    assert {record.end for record in records} == {"complete", "pruned"}
    expected = Counter(
        f"trial_{record.number:04d}/seed_{seed} {RUNGS[rung] if rung < 2 else None}"
        for record in records
        for rung in range(record.rung + 1)
        for seed in SEEDS
    )
    assert Counter((tmp_path / "runs.txt").read_text().splitlines()) == expected
    entries = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    results = Counter(
        (entry["trial_id"], key)
        for entry in entries
        for key in entry.get("user_attr", {})
        if "/" in key
    )
    assert len(results) == len(expected)
    assert set(results.values()) == {1}
