"""`mbrl compare`: groups and their names, what is left out, the outputs, and the error texts."""

import csv
import html.parser
import json
import re
from pathlib import Path

import pytest
import yaml

from mbrl_cli.commands.compare import EPILOG
from mbrl_cli.reports.baseline import read_baselines

TARGETS = {
    "cem": "mbrl_cli.planners.cem.CEM", "mppi": "mbrl_cli.planners.mppi.MPPI", "none": None,
}  # fmt: skip


BASELINE = """\
algo,task,env_step,mean,std,n
SAC,cart-pole,100,80,10,5
SAC,cart-pole,200,180,20,5
SAC,hopper,100,1,0,5
solved,CartPole-v0,,475,,
"""


@pytest.fixture
def write_run(tmp_path):
    """Return a function that writes a run folder: settings, and evaluations {step: return}."""

    def write(folder, evaluations, planner="cem", seed=0, env="CartPole-v1", **changes):
        path = tmp_path / folder
        (path / ".hydra").mkdir(parents=True)
        finished = changes.pop("finished", True)
        horizon = changes.pop("horizon", 20)
        config = {
            "env": {"id": env, "action_repeat": 1, "obs": "vector"},
            "model": {"_target_": "mbrl_cli.models.ensemble.Ensemble", "accuracy_horizon": horizon},
            "planner": {"_target_": TARGETS[planner], "horizon": horizon},
            "agent": {"_target_": "mbrl_cli.agents.mpc.MPC"},
            "seed": seed, "total_steps": max(evaluations), "console": bool(seed % 2), **changes,
        }  # fmt: skip
        (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        choices = {"env": "gym", "model": "ensemble", "planner": planner, "agent": "mpc"}
        lines = "".join(f"      {key}: {value}\n" for key, value in choices.items())
        hydra = f"hydra:\n  runtime:\n    choices:\n{lines}"
        (path / ".hydra" / "hydra.yaml").write_text(hydra, encoding="utf-8")
        words = [f"planner={planner}", f"planner.horizon={horizon}", f"seed={seed}"]
        (path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words), encoding="utf-8")
        versions = json.dumps({"git": f"{seed:08x}aa"})
        (path / "versions.json").write_text(versions, encoding="utf-8")
        rows = ["env_step,tag,value"]
        for step, value in evaluations.items():
            rows += [f"{step},time/plan,{step * 0.6}", f"{step},time/fit,{step * 0.6}"]
            rows += [f"{step},eval/return,{value}", f"{step},model/error_k1,{100.0 / value}"]
        (path / "metrics.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
        if finished:
            (path / "checkpoint.safetensors").write_bytes(b"")
        return path

    return write


@pytest.fixture
def two_planners(write_run):
    """Write five runs of each of two planners; cem is better by 100 + 10 * seed."""
    for seed in range(5):
        write_run(f"runs/cem{seed}", {100: 50.0, 200: 300.0 + 10 * seed}, "cem", seed)
        write_run(f"runs/mppi{seed}", {100: 40.0, 200: 200.0}, "mppi", seed)


def read_csv(path):
    """Return {(group, other group, statistic, step): row}."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {(r["group"], r["other_group"], r["statistic"], r["env_step"]): r for r in rows}


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


def test_the_numbers_in_the_csv(mbrl, tmp_path, two_planners):
    assert mbrl("compare", "runs", "threshold=325", "--csv", "out.csv").code == 0
    rows = read_csv(tmp_path / "out.csv")
    mean = rows["cem", "", "mean", ""]
    # A t interval: 320 +- 2.776 * sqrt(250 / 5).
    assert (float(mean["value"]), mean["runs"]) == (320.0, "5")
    assert float(mean["low"]) == pytest.approx(320 - 19.6, abs=1.0)
    assert float(mean["high"]) == pytest.approx(320 + 19.6, abs=1.0)
    assert float(rows["cem", "", "optimality_gap", ""]["value"]) == pytest.approx(1 - 320 / 500)
    difference = rows["cem", "mppi", "paired_difference", ""]
    assert float(difference["value"]) == 120.0
    # Seeds 3 and 4 of cem reach 325, so most runs do not.
    assert rows["cem", "", "reached_threshold", ""]["value"] == "2"
    assert rows["cem", "", "steps_to_threshold", ""]["value"] == ""
    assert rows["mppi", "", "reached_threshold", ""]["value"] == "0"
    curve = [rows["cem", "", "curve", step] for step in ("100", "200")]
    assert [float(row["value"]) for row in curve] == [50.0, 320.0]


def test_steps_and_minutes_to_a_threshold_are_medians(mbrl, tmp_path, two_planners):
    assert mbrl("compare", "runs", "threshold=200", "--csv", "out.csv").code == 0
    rows = read_csv(tmp_path / "out.csv")
    assert float(rows["cem", "", "steps_to_threshold", ""]["value"]) == 200.0
    # 200 steps take 2 * 0.6 * 200 seconds.
    assert float(rows["cem", "", "minutes_to_threshold", ""]["value"]) == pytest.approx(4.0)


def test_the_same_runs_give_the_same_files(mbrl, tmp_path, two_planners):
    for name in ("a", "b"):
        assert mbrl("compare", "runs", "--html", f"{name}.html", "--csv", f"{name}.csv").code == 0
    for suffix in ("html", "csv"):
        first, second = (tmp_path / f"{name}.{suffix}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


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


def test_scores_of_several_environments_are_normalized(mbrl, tmp_path, write_run):
    for env, best in (("CartPole-v1", 500.0), ("mbrl/CartPoleContinuous-v0", 200.0)):
        for planner, share in (("cem", 0.75), ("mppi", 0.25)):
            for seed in range(5):
                value = best * (share + 0.01 * seed)
                write_run(f"runs/{env}{planner}{seed}", {100: value}, planner, seed, env)
    write_run("runs/only here", {100: 1.0}, "none")
    done = mbrl("compare", "runs", "--csv", "out.csv", "--html", "out.html")
    assert "note: left out no planner: it has no runs in some of them" in done.out
    assert "Normalized scores over 2 environments" in done.out
    with (tmp_path / "out.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["env"].startswith("Normalized")]
    found = {(row["group"], row["statistic"]): float(row["value"]) for row in rows}
    assert found["cem", "mean"] == pytest.approx(0.77)
    assert found["mppi", "optimality_gap"] == pytest.approx(1 - 0.27)
    assert found["cem", "paired_difference"] == pytest.approx(0.5)
    assert next(row["runs"] for row in rows if row["statistic"] == "mean") == "10"


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


class Page(html.parser.HTMLParser):
    """Collect the tags, attributes and text of a page."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag not in ("meta", "line", "circle", "polyline", "polygon", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("line", "circle", "polyline", "polygon"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


def test_the_page_is_complete_and_loads_nothing(mbrl, tmp_path, write_run, two_planners):
    write_run("runs/<b>x", {100: 1.0}, "cem", 9)
    assert mbrl("compare", "runs", "--html", "page.html").code == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []  # every tag is closed
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)
    assert {"href", "src", "onload"} & {name for name, _ in page.attributes} == set()
    for shown in (
        "Learning curves", "Final values", "Probability of improvement", "eval/return (reward)",
        "environment steps", "mbrl train planner=cem planner.horizon=20 seed=3", "00000003",
    ):  # fmt: skip
        assert shown in page.text
    assert "nan" not in text.lower().replace("nanny", "")


def test_names_of_a_foreign_folder_are_text_in_the_page(mbrl, tmp_path, write_run):
    for seed in range(2):
        write_run(f"runs/{seed}", {100: 1.0}, "cem", seed, env="<script>alert(1)</script>")
    assert mbrl("compare", "runs", "--html", "page.html").code == 0
    assert "<script" not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_figure_is_written(mbrl, tmp_path, write_run, two_planners, suffix, magic):
    pytest.importorskip("matplotlib")
    write_run("runs/other", {100: 50.0}, "cem", env="InvertedPendulum-v5")
    (tmp_path / "published.csv").write_text(BASELINE, encoding="utf-8")
    words = ["--baseline", "published.csv", f"--{suffix}", f"out.{suffix}"]
    assert mbrl("compare", "runs", *words).code == 0
    assert (tmp_path / f"out.{suffix}").read_bytes().startswith(magic)


def test_published_results_are_drawn(mbrl, tmp_path, two_planners):
    (tmp_path / "published.csv").write_text(BASELINE, encoding="utf-8")
    env = {"id": "CartPole-v1"}
    sac, solved = read_baselines(tmp_path / "published.csv", [], env)
    assert (sac.steps.tolist(), sac.mean.tolist()) == ([100, 200], [80, 180])
    # 2.776 * 10 / sqrt(5)
    assert sac.high[0] == pytest.approx(80 + 12.4166, abs=1e-3)
    assert (solved.steps.size, solved.mean.tolist()) == (0, [475])
    done = mbrl("compare", "runs", "--baseline", "published.csv:SAC", "--html", "page.html")
    assert "published: SAC 180.0 at 200 steps" in done.out
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("SAC (published)") == 2  # legend and curve
    done = mbrl("compare", "runs", "--baseline", "published.csv:PPO")
    assert (done.code, done.err) == (
        2, "mbrl: --baseline published.csv:PPO: unknown name; nearest: SAC, solved\n"
    )  # fmt: skip


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
