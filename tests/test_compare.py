"""`mbrl compare`: groups and their names, what is left out, and the error texts."""

import re
from pathlib import Path

import pytest
import yaml

from mbrl_cli.commands.compare import EPILOG


def test_the_table_of_two_planners(mbrl, two_planners):
    done = mbrl("compare", "runs", "--csv", "out.csv")
    assert (done.code, done.err) == (0, "")
    assert "eval/return of 10 runs in 2 groups and 1 environment" in done.out
    row = r"^cem +5 +320\.0 +30\d\.\d to 3\d\d\.\d +320\.0 +320\.0 +0\.360$"
    assert re.search(row, done.out, re.M)
    assert "\ncem compared with\n" in done.out
    assert re.search(r"^mppi +120\.0 .* 1\.00 +0\.64 to 1\.00$", done.out, re.M)
    assert "cem is better than mppi (differences between runs with equal seeds)" in done.out
    assert "all runs of mppi end at the same value" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_few_runs_are_no_conclusion(mbrl, write_run):
    for seed in range(3):
        write_run(f"runs/cem{seed}", {100: 300.0 + seed}, "cem", seed)
        write_run(f"runs/mppi{seed}", {100: 10.0 + seed}, "mppi", seed)
    done = mbrl("compare", "runs")
    assert "too few runs for a conclusion: 3 runs, at least 5 are needed" in done.out
    assert "is better than" not in done.out
    done = mbrl("compare", "runs/cem0")
    assert "note: too few runs for a conclusion: 1 run, at least 5 are needed" in done.out


def test_a_long_name_has_a_line_of_its_own(mbrl, write_run):
    for norm in (True, False):
        key = "a_key_with_a_very_long_name_that_fills_a_line"
        for seed in range(2):
            write_run(f"runs/{norm}{seed}", {100: 300.0 + seed}, "cem", seed, **{key: norm})
    done = mbrl("compare", "runs")
    assert f"\n{key}=true\n          2  300.5" in done.out
    assert f"\n{key}=false\n          2  300.5" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_lower_is_better_for_errors(mbrl, two_planners):
    done = mbrl("compare", "runs", "metric=model/error_k1")
    assert "lower is better" in done.out
    assert re.search(r"^mppi +-0\.1\d+ .* 1\.00 ", done.out, re.M)
    assert "cem is better than mppi" in done.out
    done = mbrl("compare", "runs", "metric=model/error_k1", "better=higher")
    assert "mppi is better than cem" in done.out


def test_a_reference_and_a_step_can_be_chosen(mbrl, two_planners):
    done = mbrl("compare", "runs", "reference=cem", "at=150")
    # At step 150: (50 + 320) / 2 and (40 + 200) / 2.
    assert re.search(r"^mppi compared with\n.*\ncem +-65\.0 ", done.out, re.M)


def test_unfinished_and_repeated_runs_are_left_out_with_a_note(mbrl, write_run, two_planners):
    write_run("runs/unfinished", {100: 9.0}, "cem", 7, finished=False, total_steps=200)
    write_run("runs/damaged", {100: 9.0}).joinpath("config.yaml").write_text("[", encoding="utf-8")
    write_run("runs/repeated", {100: 50.0, 200: 999.0}, "mppi", 4)
    done = mbrl("compare", "runs")
    assert "left out 1 run that has not finished (1 interrupted)" in done.out
    assert re.search(r"left out a folder: runs/damaged/config.yaml: is not", done.out)
    assert "left out 1 run with the settings and the seed of another run" in done.out
    done = mbrl("compare", "runs", "unfinished=true")
    assert "runs that have not finished are included: 1 interrupted" in done.out
    # Its last step is 100, so curves and final values have a note.
    assert "final values belong to different steps: mppi 200, cem 100 to 200" in " ".join(
        done.out.split()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["runs", "metric=eval/retrun"],
            "metric=eval/retrun: no run has logged it; nearest: eval",
        ),
        (["runs", "by=plannr"], "by=plannr: unknown key; did you mean planner?"),
        (["runs", "treshold=3"], "treshold: unknown key; did you mean threshold?"),
        (["runs", "at=9"], "at=9: no run in CartPole-v1 has values before and after this step"),
        (["runs", "at=x"], "at=x: must be a number"),
        (["runs", "better=up"], "better=up: must be higher or lower"),
        (["runs", "unfinished=1"], "unfinished=1: must be true or false"),
        (["runs", "min=3", "max=2"], "min=3: must be below max=2"),
        (["runs", "reference=icem"], "reference=icem: no group has this name; groups are cem"),
        (["runs", "--html", "x.txt"], "--html x.txt: must end in .html"),
        (["runs", "--csv", "no/x.csv"], "--csv no/x.csv: the folder no does not exist"),
        (["runs", "--baseline", "no.csv"], "--baseline no.csv: No such file or directory"),
        (["no"], "no: is not a folder; type the folder that holds your runs"),
        (["empty"], "empty: holds no run; type the folder of a run or of a sweep, or: mbrl runs"),
        ([], "FOLDER: must be given, such as outputs/SWEEP; usage: mbrl compare FOLDER ..."),
    ],
)
def test_mistakes_are_one_line(mbrl, tmp_path, two_planners, words, message):
    (tmp_path / "empty").mkdir()
    done = mbrl("compare", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"mbrl: {message}")
    assert done.err.count("\n") == 1


ROOT = Path(__file__).parent.parent
COMMANDS = [
    line.partition("#")[0].split()[1:]
    for name in ("README.md", "docs/compare.md")
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
    if line.startswith("mbrl compare ")
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_documentation_runs(mbrl, tmp_path, write_run, words):
    for seed in range(5):
        for planner in ("cem", "mppi"):
            write_run(f"outputs/SWEEP/{planner}{seed}", {100: 50.0, 200: 300.0}, planner, seed)
    for metrics in tmp_path.rglob("metrics.csv"):
        with metrics.open("a") as file:
            file.write("200,train/return,9\n")
    words = [word.replace("random_shooting", "mppi") for word in words]
    done = mbrl(*words)
    assert (done.code, done.err) == (0, "")
    assert all(
        (tmp_path / word).exists() for word in words if re.search(r"\.(html|p..|csv)$", word)
    )


def test_damaged_runs_are_left_out_with_a_note(mbrl, write_run, two_planners):
    rows = {"steps": "99999999999999999999,eval/return,3", "value": "5,eval/return,x"}
    for seed, (name, row) in enumerate(rows.items()):
        (write_run(f"runs/{name}", {100: 9.0}, seed=seed) / "metrics.csv").write_text(
            f"env_step,tag,value\n{row}\n300,time/plan,1\n", encoding="utf-8"
        )
    huge = write_run("runs/huge", {100: 1e308}, seed=9)
    done = mbrl("compare", "runs", "unfinished=true")
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.split())
    for name in rows:
        assert f"left out a run: runs/{name}/metrics.csv: row 2 is damaged" in text
    assert "left out 1 run that did not log eval/return" in text  # no finite value
    for key, value in (("seed", "x"), ("env", "3")):
        config = yaml.safe_load((huge / "config.yaml").read_text(encoding="utf-8"))
        (huge / "config.yaml").write_text(yaml.safe_dump(config | {key: value}), encoding="utf-8")
        text = " ".join(mbrl("compare", "runs").out.split())
        assert f"left out a folder: runs/huge/config.yaml: is not of a run: it has {key}=" in text


def test_runs_that_have_not_finished_are_named(mbrl, write_run):
    write_run("runs/a", {100: 9.0}, "cem", 7, finished=False)
    done = mbrl("compare", "runs")
    assert done.err == (
        "mbrl: no run has finished (1 interrupted); to compare them as they are add "
        "unfinished=true\n"
    )


def test_the_help_lists_every_setting(mbrl):
    done = mbrl("compare", "--help")
    assert (done.code, EPILOG in done.out) == (0, True)
