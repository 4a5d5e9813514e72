"""`mbrl search` as a command: whole searches, interrupted ones, and mistakes."""

import importlib.util
import json
from pathlib import Path

import pytest

from mbrl_cli.api.loading import load_run
from mbrl_cli.config.search_parameter import SearchParameter
from mbrl_cli.errors import Diverged, StopRequested
from mbrl_cli.search import worker
from mbrl_cli.search.definition import Definition
from mbrl_cli.search.journal import Journal
from mbrl_cli.search.settings import Settings

RUN = [
    "env=gridworld", "agent=mpc", "model=linear", "planner=random_shooting", "total_steps=90",
    "prefill_steps=10", "eval_every=15", "eval_episodes=1", "final_eval_episodes=1",
    "env.max_episode_steps=4", "agent.fit_every=20", "planner.population=5", "device=cpu",
]  # fmt: skip
# 4 trials, 2 and 1
SEARCH = [*RUN, "planner.horizon=int(interval(2,6))", "reduction=2", "trials=4", "seeds=0,1"]


def plain(folder):
    return [(r.number, r.values, r.rung, r.results, r.end) for r in Journal(Path(folder)).records()]


def test_a_search_that_was_stopped_anywhere_equals_one_that_was_not(mbrl, monkeypatch, tmp_path):
    done = mbrl("search", *SEARCH, "hydra.sweep.dir=whole")
    assert (done.code, done.err) == (0, "")
    records = plain("whole")
    assert [record[0] for record in records] == [0, 1, 2, 3]
    assert [record[4] for record in records].count("complete") == 1
    assert "compared  after 30, 45, 90 steps" in done.out
    # (4 * 30 + 2 * (15 + 4) + 45 + 4) * 2; the episodes have 4 steps
    assert "steps     414 of all runs at most" in done.out
    steps = [result.steps for r in records for seeds in r[3].values() for result in seeds.values()]
    assert 360 <= sum(steps) <= 414

    real, calls = worker.train_until, []

    def stops_sometimes(run, folder, pause_at):
        calls.append(1)
        if len(calls) in (2, 4, 7):  # before a run, and after one that is not recorded yet
            if len(calls) != 2:
                real(run, folder, pause_at)
            raise StopRequested(15)
        return real(run, folder, pause_at)

    monkeypatch.setattr(worker, "train_until", stops_sometimes)
    assert mbrl("search", *SEARCH, "hydra.sweep.dir=parts").code == 143
    stopped = mbrl("search", *SEARCH, "hydra.sweep.dir=parts")
    assert "stopped and saved; to continue type: mbrl resume parts" in stopped.out
    assert mbrl("resume", "parts").code == 143
    done = mbrl("resume", "parts")
    assert done.code == 0
    assert plain("parts") == records
    assert (tmp_path / "parts/trials.csv").read_text() == (
        tmp_path / "whole/trials.csv"
    ).read_text()

    # The run of the best trial was paused twice; it equals that of the printed command.
    best = next(record for record in records if record[4] == "complete")
    command = [line for line in done.out.splitlines() if line.startswith("  mbrl train -m")]
    assert f"planner.horizon={best[1]['planner.horizon']}" in command[0]
    horizon = f"planner.horizon={best[1]['planner.horizon']}"
    assert mbrl("train", *RUN, horizon, "seed=1", "console=false", "hydra.run.dir=run").code == 0
    folder = tmp_path / "whole" / f"trial_{best[0]:04d}" / "seed_1"
    alone, searched = load_run(tmp_path / "run").metrics(), load_run(folder).metrics()
    assert alone.keys() == searched.keys()
    for tag in alone:
        if not tag.startswith("time/"):
            assert alone[tag]["value"].tolist() == searched[tag]["value"].tolist(), tag

    more = mbrl("resume", "whole", "trials=5")
    assert more.code == 0
    assert plain("whole")[:4] == records
    assert len(plain("whole")) == 5


def test_a_failed_trial_does_not_end_the_search(mbrl, monkeypatch, tmp_path):
    def diverges_once(run, folder, pause_at):
        if folder.parts[-2:] == ("trial_0001", "seed_0"):
            raise Diverged("training diverged")
        return (90 if pause_at is None else pause_at), float(folder.parts[-2][-1])

    monkeypatch.setattr(worker, "train_until", diverges_once)
    done = mbrl("search", *SEARCH, "hydra.sweep.dir=search")
    assert done.code == 0
    assert [r[4] for r in plain("search")] == ["pruned", "failed", "pruned", "complete"]
    assert "trial 1 failed: seed=0: training diverged" in done.out

    def diverges(run, folder, pause_at):
        raise Diverged("training diverged")

    monkeypatch.setattr(worker, "train_until", diverges)
    done = mbrl("search", *SEARCH, "hydra.sweep.dir=other", "trials=9")
    assert done.code == 2
    assert "3 trials failed and none has a result: seed=0: training diverged" in done.err
    assert len(plain("other")) == 3


def test_the_seeds_of_a_trial_that_is_worse_are_not_all_run(mbrl, monkeypatch):
    seeds_run = []

    def returns(run, folder, pause_at):
        trial, seed = int(folder.parts[-2][-1]), int(folder.name[-1])
        seeds_run.append((trial, seed))
        return (90 if pause_at is None else pause_at), 10.0 * (trial == 0) + seed

    monkeypatch.setattr(worker, "train_until", returns)
    words = [*SEARCH[:-2], "trials=2", "seeds=0,1,2,3,4,5"]
    done = mbrl("search", *words, "hydra.sweep.dir=search")
    assert done.code == 0
    # After 4 seeds p = 1/16 < 0.1.
    assert [seed for trial, seed in seeds_run if trial == 1] == [0, 1, 2, 3]
    assert "worse than the best after 4 of 6 seeds" in Path("search/trials.csv").read_text()


@pytest.mark.parametrize(
    ("max_steps", "pruning", "trials", "rungs"),
    [
        # Two seeds; a promoted run takes up to 4 steps again.
        (511, True, 4, (30, 90)),  # (4 * 30 + 2 * 64) * 2 = 496, one trial more: 556
        (512, True, 9, (15, 30, 90)),  # nine trials fill a third rung: (9 * 15 + 3 * 19 + 64) * 2
        (707, True, 9, (15, 30, 90)),  # one trial more: (10 * 15 + 4 * 19 + 2 * 64) * 2 = 708
        (719, False, 3, (90,)),
    ],
)
def test_max_steps_sets_the_number_of_trials(max_steps, pruning, trials, rungs):
    space = [SearchParameter("planner.horizon", "2,3", choices=("2", "3"))]
    settings = Settings(max_steps=max_steps, seeds=(0, 1), pruning=pruning)
    found, _ = Definition.checked(RUN, space, settings, None)
    assert (found.settings.trials, found.rungs) == (trials, rungs)
    assert found.most_steps <= max_steps


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (RUN, "hparams_search=: the search space is empty; choose one of alphazero, cem"),
        ([*RUN, "hparams_search=cmm"], "hparams_search=cmm: unknown hparams_search; did you mean"),
        ([*RUN, "planner.horizn=1,2"], "planner.horizn: unknown key; did you mean horizon?"),
        ([*SEARCH, "eval_every=0"], "eval_every=0: the run has no evaluation between"),
        ([*SEARCH, "seed=3"], "seed=3: each trial has several; type seeds=3"),
        ([*RUN, "seed=1,2"], "seed=1,2: each trial has several; type seeds=1,2"),
        ([*SEARCH, "brackets=4"], "brackets=4: must be 3 or less"),
        ([*RUN, "planner.horizon=2,3", "max_steps=100"], "max_steps=100: must be 282 or more"),
    ],
)
def test_a_mistake_is_one_line(mbrl, words, text):
    done = mbrl("search", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"mbrl: {text}" in done.err
    assert not Path("outputs").exists()


def test_a_space_is_not_for_a_single_run(mbrl):
    done = mbrl("train", "env=cartpole", "hparams_search=cem")
    assert done.code == 2
    assert "hparams_search=cem: is a search space; type mbrl search hparams_search=cem" in done.err


def test_a_missing_extra_is_named(mbrl, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = mbrl("search", *SEARCH)
    assert "search: needs the package optuna; in the clone of mbrl type: pip install" in done.err


def test_the_search_of_another_user_needs_trust(mbrl, tmp_path):
    folder = tmp_path / "search"
    folder.mkdir()
    Definition(("env=gridworld",), (), Settings(), (90,)).save(folder)
    definition = json.loads((folder / "search.json").read_text())
    (folder / "search.json").write_text(json.dumps({**definition, "words": ["env.id=evil:E-v0"]}))
    done = mbrl("resume", "search")
    assert (done.code, done.out) == (2, "")
    assert "if you trust it add --trust" in done.err
    assert "only trials=N can" in mbrl("resume", "search", "reduction=2").err
