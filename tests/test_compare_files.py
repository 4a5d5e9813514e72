"""The files that `mbrl compare` writes and reads: CSV, page, figure, published results."""

import csv
import html.parser
import re

import pytest

from mbrl_cli.reports.baseline import read_baselines

BASELINE = """\
algo,task,env_step,mean,std,n
SAC,cart-pole,100,80,10,5
SAC,cart-pole,200,180,20,5
SAC,hopper,100,1,0,5
solved,CartPole-v0,,475,,
"""


def read_csv(path):
    """Return {(group, other group, statistic, step): row}."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {(r["group"], r["other_group"], r["statistic"], r["env_step"]): r for r in rows}


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
