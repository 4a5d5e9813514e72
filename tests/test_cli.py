"""The command line in a process of its own: messages, help texts, sweeps, equal metrics."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mbrl_cli.config.command_words import quote_path
from mbrl_cli.config.composition import compose_choice
from mbrl_cli.config.groups import GROUPS, choices
from mbrl_cli.config.yaml_comments import key_comments
from mbrl_cli.run_settings import RunSettings

TINY = [
    "total_steps=30", "prefill_steps=15", "eval_every=0", "final_eval_episodes=2",
    "env.max_episode_steps=10", "planner.horizon=3", "planner.population=8",
    "model.max_steps=5", "model.hidden=[8]", "model.termination_steps=5",
]  # fmt: skip
CEM = ["planner.elite_ratio=0.5", "planner.iterations=1"]


def run_mbrl(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mbrl_cli", *words],
        cwd=cwd, capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip


# `test_mistakes.py` tests many more, without starting a process for each.
MISTAKES = [
    ("train planner.horizon=0", "planner.horizon=0", ">= 1"),
    ("train -m planner.horizon=1,0", "planner.horizon=0", ">= 1"),
    ("eval nowhere", "nowhere", "is not a run folder"),
]


@pytest.mark.parametrize(("words", "named", "allowed"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_gives_one_line_and_makes_no_folder(
    words: str, named: str, allowed: str, tmp_path: Path
) -> None:
    done = run_mbrl(*words.split(), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("mbrl: ")
    assert len(done.stderr.strip().splitlines()) <= 2
    assert named in done.stderr
    assert allowed in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_import_no_large_package(tmp_path: Path) -> None:
    code = (
        "import sys; from mbrl_cli.cli import main; sys.argv = ['mbrl', '--help']; main();"
        "assert not {'torch', 'hydra', 'numpy', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "mbrl train" in done.stdout
    assert run_mbrl("--version", cwd=tmp_path).stdout.startswith("mbrl 0.")


def test_list_describes_every_choice(tmp_path: Path) -> None:
    shown = run_mbrl("list", cwd=tmp_path).stdout
    for word in ("cartpole_continuous", "gaussian_ensemble", "random_shooting", "pets"):
        lines = [line for line in shown.splitlines() if line.split()[:1] == [word]]
        assert lines, word
        assert all(len(line.split()) > 2 for line in lines), f"{word} has no description"


def test_list_of_a_choice_shows_default_recommended_value_allowed_values_and_comment(mbrl):
    lines = mbrl("list", "planner", "cem", "env=pendulum").out.splitlines()
    assert lines[0].startswith("planner=cem: cross-entropy method")
    titles = ("key", "default", "env=pendulum", "allowed", "meaning")
    starts = [lines[2].index(title) for title in titles]
    (horizon,) = [line for line in lines if line.startswith("planner.horizon ")]
    cells = [horizon[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    assert cells == [
        "planner.horizon",
        "25*",
        "20",
        "a whole number >= 1",
        "imagined steps per plan",
    ]
    assert "env=pendulum" not in mbrl("list", "planner", "cem").out


@pytest.mark.parametrize("group", GROUPS)
def test_list_shows_every_key_of_every_choice_with_a_comment(mbrl, group):
    for name in choices(group):
        done = mbrl("list", group, name)
        assert done.code == 0
        for key in compose_choice(group, name):
            if key not in ("_target_", "kwargs", "recommended", "sac", "network", "actor_critic"):
                (line,) = [x for x in done.out.splitlines() if x.split()[:1] == [f"{group}.{key}"]]
                assert len(line.split("  ")) > 3, line  # key, default, allowed, comment


def test_list_of_an_experiment_shows_what_it_sets(mbrl):
    lines = [
        line.split() for line in mbrl("list", "experiment", "dreamer_cartpole").out.splitlines()
    ]
    assert ["env", "cartpole"] in [line[:2] for line in lines]
    assert ["total_steps", "8000"] in [line[:2] for line in lines]


def test_help_of_train_fits_on_two_screens_and_explains_every_key(mbrl):
    done = mbrl("train", "--help")
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) <= 48
    assert max(map(len, lines)) <= 80
    for key in RunSettings.__dataclass_fields__:
        (line,) = [line for line in lines if line.split()[:1] == [key]]
        assert len(line.split()) > 3, f"{key} has no explanation"
    for group in GROUPS:
        for name in choices(group):
            assert name in done.out


@pytest.mark.parametrize("command", ["eval", "resume", "list"])
def test_help_of_a_command_shows_usage_options_and_an_example(mbrl, command):
    done = mbrl(command, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: mbrl {command} ")
    assert "--config-dir DIR" in done.out
    assert f"examples:\n  mbrl {command}" in done.out


def test_hydra_help_is_still_there(mbrl):
    assert "--hydra-help" in mbrl("train", "--hydra-help").out


def test_shell_completion_offers_commands_and_choices_but_no_shared_blocks(mbrl, monkeypatch):
    def complete(line):
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        return mbrl("-sc", "query=bash").out.split()

    assert {"train", "resume", "eval", "list", "runs"} <= set(complete("mbrl "))
    assert complete("mbrl train planner=") == [f"planner={name}" for name in choices("planner")]


def test_a_comment_stands_behind_its_key_or_above_it_and_may_continue(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "# the file\n"
        "a: 1    # first line\n"
        "        # second line\n"
        "# above\n"
        "b: ${for_env:x,2}\n"
        "section:  # of keys\n"
        "  c: [1, 2]  # a list\n"
        "  # above too\n"
        "  d: text#no comment\n"
        "e:\n"
    )
    assert key_comments(path, "model") == {
        "model.a": "first line second line",
        "model.b": "above",
        "model.section": "of keys",
        "model.section.c": "a list",
        "model.section.d": "above too",
    }


def test_the_same_seed_writes_the_same_metrics(tmp_path: Path) -> None:
    rows = []
    for name in ("a", "b"):
        done = run_mbrl(
            "train", "env=cartpole", *TINY, *CEM, f"hydra.run.dir={tmp_path / name}", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        with (tmp_path / name / "metrics.csv").open() as file:
            rows.append([row for row in csv.reader(file) if not row[1].startswith("time/")])
    assert rows[0] == rows[1]
    assert {"train/return", "eval/return", "model/holdout_loss"} <= {row[1] for row in rows[0]}


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    words = ["train", "agent=random", "total_steps=5", "final_eval_episodes=1"]
    for _ in range(2):
        assert run_mbrl(*words, cwd=tmp_path).returncode == 0
    first, _ = sorted((tmp_path / "outputs").iterdir())  # two folders, even in the same second
    done = run_mbrl(*words, f"hydra.run.dir={first}", cwd=tmp_path)
    assert done.returncode == 2
    assert "never overwritten" in done.stderr


def test_a_sweep_leaves_a_folder_for_each_job_and_eval_reads_one(tmp_path: Path) -> None:
    words = ["train", "-m", "env=cartpole", "planner=cem,random_shooting", "seed=0,1", *TINY]
    # No plan has 99 steps, so the whole sweep is refused before its first job.
    done = run_mbrl(*words, "planner.replan_every=3,99", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "sweep").exists()
    done = run_mbrl(*words, "planner.population=12", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folders = sorted(path.parent for path in (tmp_path / "sweep").glob("*/metrics.csv"))
    jobs = [("cem", 0), ("cem", 1), ("random_shooting", 0), ("random_shooting", 1)]
    assert [folder.name for folder in folders] == [f"{planner}_s{seed}" for planner, seed in jobs]
    words = ["eval", str(folders[0]), "eval_episodes=2"]
    plain = run_mbrl(*words, cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    assert "mean return" in plain.stdout
    other = run_mbrl(*words, "planner=random_shooting", "planner.population=5", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    refused = run_mbrl(*words, "planner.horizn=2", cwd=tmp_path)
    assert refused.returncode == 2
    assert "horizon" in refused.stderr
    sweep = run_mbrl("eval", "sweep", cwd=tmp_path)
    assert sweep.returncode == 2
    assert f"sweep: holds 4 runs, eval takes one: {folders[0].name}  " in sweep.stderr
    assert f"type: mbrl eval sweep/{folders[0].name}" in sweep.stderr
    # The folder's name contains '=' and ',', as in sweeps of older versions.
    older = folders[0].rename(tmp_path / "sweep" / "0_env=cartpole,planner=cem")
    words = ["train", "env=cartpole", *TINY, f"model_from={older}", "hydra.run.dir=a=1,b=2/c"]
    again = run_mbrl(*words, "planner.population=12", "-m", "hydra.sweep.dir=x=1,2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "x=1,2").glob("*/metrics.csv"))) == 1


def test_the_resolved_config_is_yaml_with_comments(mbrl):
    done = mbrl("train", "--cfg", "job", "--resolve", "env=pendulum", "planner.horizon=7")
    assert done.code == 0, done.err
    config = yaml.safe_load(done.out)
    assert config["planner"]["horizon"] == 7
    assert config["env"]["id"] == "Pendulum-v1"
    assert "recommended" not in config["env"]
    assert "${" not in done.out
    (line,) = [line for line in done.out.splitlines() if line.startswith("  horizon: 7")]
    assert line.endswith("# imagined steps per plan")


def test_options_may_stand_anywhere(mbrl, tmp_path):
    words = ["agent=random", "-m", "seed=0,1", "total_steps=5", "hydra.sweep.dir=s"]
    done = mbrl("train", *words, "final_eval_episodes=1")
    assert done.code == 0, done.err
    assert len(list(tmp_path.glob("s/*/metrics.csv"))) == 2


@pytest.mark.parametrize(
    ("word", "is_sweep", "quoted"),
    [
        ("model_from=a=1,b=2/c", False, "model_from='a=1,b=2/c'"),
        ("hydra.run.dir=a,b", False, "hydra.run.dir='a,b'"),
        ("hydra.sweep.dir=a,b=1", True, "hydra.sweep.dir='a,b=1'"),
        ("model_from=it's/x=1", False, "model_from='it\\'s/x=1'"),
        ("model_from='a,b'", False, "model_from='a,b'"),
        ("model_from=one,two", True, "model_from=one,two"),
        ("model_from=0_s=1,t=2,0_s=2,t=2", True, "model_from='0_s=1,t=2','0_s=2,t=2'"),
        ("env.kwargs.path=/a/b=c", False, "env.kwargs.path='/a/b=c'"),
        ("hydra.run.dir=outputs/${seed}", False, "hydra.run.dir=outputs/${seed}"),
        ("planner=cem,icem", True, "planner=cem,icem"),
    ],
)
def test_paths_with_equal_signs_and_commas_are_quoted(
    word, is_sweep, quoted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("0_s=1,t=2", "0_s=2,t=2"):
        Path(name).mkdir()
    assert quote_path(word, is_sweep) == quoted
