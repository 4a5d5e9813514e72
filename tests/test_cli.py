"""The command line as a person meets it: every mistake is one line, exit code 2, no folder."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = [
    "total_steps=30", "prefill_steps=15", "eval_every=0", "final_eval_episodes=2",
    "env.max_episode_steps=10", "planner.horizon=3", "planner.population=8",
    "model.max_steps=5", "model.hidden=[8]", "model.termination_steps=5",
]  # fmt: skip
CEM = ["planner.elite_ratio=0.5", "planner.iterations=1"]


def mbrl(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mbrl_cli", *words],
        cwd=cwd, capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip


# `test_mistakes.py` has many more, in one process.
MISTAKES = [
    ("train planner.horizon=0", "planner.horizon=0", ">= 1"),
    ("train -m planner.horizon=1,0", "planner.horizon=0", ">= 1"),
    ("eval nowhere", "nowhere", "is not a run folder"),
]


@pytest.mark.parametrize(("words", "named", "allowed"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_told_in_one_line_and_leaves_nothing_behind(
    words: str, named: str, allowed: str, tmp_path: Path
) -> None:
    done = mbrl(*words.split(), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("mbrl: ")
    assert len(done.stderr.strip().splitlines()) <= 2
    assert named in done.stderr
    assert allowed in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_import_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from mbrl_cli.cli import main; sys.argv = ['mbrl', '--help']; main();"
        "assert not {'torch', 'hydra', 'numpy', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "mbrl train" in done.stdout
    assert mbrl("--version", cwd=tmp_path).stdout.startswith("mbrl 0.")


def test_list_describes_every_choice(tmp_path: Path) -> None:
    shown = mbrl("list", cwd=tmp_path).stdout
    for word in ("cartpole_continuous", "gaussian_ensemble", "random_shooting", "pets"):
        (line,) = [line for line in shown.splitlines() if line.split()[:1] == [word]]
        assert len(line.split()) > 2, f"{word} has no description"


def test_the_same_seed_writes_the_same_metrics(tmp_path: Path) -> None:
    rows = []
    for name in ("a", "b"):
        done = mbrl(
            "train", "env=cartpole", *TINY, *CEM, f"hydra.run.dir={tmp_path / name}", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        with (tmp_path / name / "metrics.csv").open() as file:
            rows.append([row for row in csv.reader(file) if not row[1].startswith("time/")])
    assert rows[0] == rows[1]
    assert {"train/return", "eval/return", "model/holdout_loss"} <= {row[1] for row in rows[0]}


def test_runs_are_never_overwritten(tmp_path: Path) -> None:
    words = ["train", "agent=random", "total_steps=5", "final_eval_episodes=1"]
    for _ in range(2):
        assert mbrl(*words, cwd=tmp_path).returncode == 0
    first, _ = sorted((tmp_path / "outputs").iterdir())  # two folders, also in the same second
    done = mbrl(*words, f"hydra.run.dir={first}", cwd=tmp_path)
    assert done.returncode == 2
    assert "never overwritten" in done.stderr


def test_a_sweep_leaves_a_folder_for_each_job_and_eval_reads_one(tmp_path: Path) -> None:
    words = ["train", "-m", "env=cartpole", "planner=cem,random_shooting", "seed=0,1", *TINY]
    # No plan has 99 steps: the whole sweep is refused before its first job.
    done = mbrl(*words, "planner.replan_every=3,99", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "sweep").exists()
    done = mbrl(*words, "planner.population=12", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folders = sorted(path.parent for path in (tmp_path / "sweep").glob("*/metrics.csv"))
    jobs = [("cem", 0), ("cem", 1), ("random_shooting", 0), ("random_shooting", 1)]
    for number, ((planner, seed), folder) in enumerate(zip(jobs, folders, strict=True)):
        assert folder.name.startswith(f"{number}_env=cartpole,planner={planner},seed={seed}")
    words = ["eval", str(folders[0]), "eval_episodes=2"]
    plain = mbrl(*words, cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    assert "mean return" in plain.stdout
    other = mbrl(*words, "planner=random_shooting", "planner.population=5", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    refused = mbrl(*words, "planner.horizn=2", cwd=tmp_path)
    assert refused.returncode == 2
    assert "horizon" in refused.stderr
