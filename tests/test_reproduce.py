"""`mbrl reproduce`: recipes, their stated results, the verdict."""

import re
import statistics

import pytest
import yaml
from scipy import stats

from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.groups import choices, config_dir
from mbrl_cli.config.published import Published, read_published, seeds_text
from mbrl_cli.reports.reproduction import Reproduction

STATED = {
    "steps": 60, "seeds": [10, 11], "returns": [8.0, 12.0], "mean": 10.0, "interval": 25.4,
    "core_hours": 0.1, "commit": "abc", "machine": "here", "versions": {"numpy": "0.1"},
}  # fmt: skip
PUBLISHED = sorted(path.stem for path in (config_dir() / "published").glob("*.yaml"))


def stated(**changes):
    return Published(**{**STATED, **changes})


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_stated_result_agrees_with_its_returns_and_its_recipe(name):
    result = read_published(name)
    returns = result.returns
    t = stats.t.ppf(0.975, len(returns) - 1)
    half = t * statistics.stdev(returns) / len(returns) ** 0.5
    # The returns are rounded to one decimal.
    assert result.mean == pytest.approx(statistics.mean(returns), abs=0.11)
    assert result.interval == pytest.approx(half, abs=0.15)
    assert result.core_hours > 0
    assert name in choices("experiment")
    config = compose_config([f"experiment={name}"])
    assert (config.total_steps, config.final_eval_episodes) == (result.steps, 20)


def test_the_interval_of_the_difference_is_welchs_for_two_seeds_each():
    # Difference 3; variances 8 and 8 of 2 runs: standard error sqrt(4 + 4) = 2.83, 2 degrees of
    # freedom, t = 4.30: half width 12.2. The bootstrap of two runs has only three different means.
    result = Reproduction([1, 2], [11.0, 15.0], stated())
    assert (result.mean, result.difference) == (13.0, 3.0)
    assert result.half_width == pytest.approx(12.706 * 2.0, rel=1e-3)  # t(1 degree) * s / sqrt(2)
    assert (result.low, result.high) == pytest.approx((3 - 12.2, 3 + 12.2), rel=0.2)
    assert result.is_inside


@pytest.mark.parametrize(
    ("returns", "inside"),
    [([500.0, 500.0], True), ([499.0, 499.0], False), ([498.0, 500.0], True)],
)
def test_a_stated_result_without_spread(returns, inside):
    result = Reproduction([1, 2], returns, stated(returns=[500.0, 500.0], mean=500.0))
    assert result.is_inside == inside


def test_the_verdict_names_interval_and_versions():
    text = Reproduction([1, 2], [110.0, 112.0], stated()).text({"numpy": "2.0"})
    lines = text.splitlines()
    assert lines[0] == "stated    10.0 ± 25.4, 60 steps, seeds 10, 11, commit abc, 0.1 core-hours"
    assert lines[1] == "here      111.0 ± 12.7, 60 steps, seeds 1, 2"
    assert lines[2] == "versions  numpy 0.1 there, 2.0 here"
    assert re.fullmatch(
        r"outside   the difference is \+101\.0, its 95 % interval [\d.]+ to [\d.]+ excludes 0",
        lines[3],
    )


def test_seeds_are_shown_as_a_range():
    assert seeds_text([10, 11, 12]) == "10-12"
    assert seeds_text([3, 5]) == "3, 5"


@pytest.fixture
def recipes(tmp_path, tiny_run):
    """Write the recipe `tiny` into recipes/; return a function that writes its stated result."""
    for folder in ("experiment", "published"):
        (tmp_path / "recipes" / folder).mkdir(parents=True)
    settings = [word.split("=") for word in tiny_run if "=" in word]
    config = {"defaults": [{"override /env": "pendulum"}, {"override /agent": "mpc"}]}
    for key, value in settings:
        section = config
        *parents, last = key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        if key not in ("agent", "planner", "console", "device"):
            section[last] = yaml.safe_load(value)
    text = f"# @package _global_\n# a tiny run\n{yaml.safe_dump(config, sort_keys=False)}"
    (tmp_path / "recipes" / "experiment" / "tiny.yaml").write_text(text)

    def publish(**changes):
        content = yaml.safe_dump({**STATED, **changes})
        (tmp_path / "recipes" / "published" / "tiny.yaml").write_text(content)

    return publish


WORDS = ("reproduce", "tiny", "seeds=2", "--config-dir", "recipes", "console=false", "device=cpu")


def test_a_recipe_runs_once_and_its_result_is_judged(mbrl, recipes, tmp_path):
    recipes(returns=[-60.0, -80.0], mean=-70.0)
    done = mbrl(*WORDS)
    # Ten steps of a pendulum cost between 0 and 163.
    assert done.code == 0, done.out + done.err
    assert "here      -" in done.out
    assert "inside    the difference is" in done.out
    metrics = sorted((tmp_path / "outputs" / "reproduce_tiny").glob("s1[01]/metrics.csv"))
    assert len(metrics) == 2
    before = [path.stat().st_mtime_ns for path in metrics]

    recipes(returns=[500.0, 500.1], mean=500.0)  # the finished runs are not repeated
    again = mbrl(*WORDS)
    assert again.code == 1
    assert "outside   the difference is -" in again.out
    assert [path.stat().st_mtime_ns for path in metrics] == before


def test_list_shows_the_stated_result(mbrl, recipes):
    recipes()
    line = "a tiny run; stated 10.0 ± 25.4, 60 steps, seeds 10, 11"
    for words in (["experiment"], ["experiment", "tiny"]):
        assert f"{line}\n" in mbrl("list", *words, "--config-dir", "recipes").out


MISTAKES = {
    "": "RECIPE: one must be given; usage: mbrl reproduce RECIPE [seeds=5]",
    "pets_cartpol": "experiment=pets_cartpol: unknown experiment; did you mean pets_cartpole",
    "pets_cartpole sac_cartpole": "sac_cartpole: one RECIPE only",
    "tiny --config-dir recipes": "reproduce tiny: states no result to compare with; run it with "
    "mbrl train experiment=tiny, or reproduce mbpo_cartpole,",
    "pets_cartpole seeds=1": "seeds=1: must be 2 or more, for an interval",
    "pets_cartpole seeds=x": "seeds=x: must be a number of runs, or seeds such as 20,21,22",
    "pets_cartpole seeds=3,3": "seeds=3,3: has a seed twice",
    "pets_cartpole seed=3": "seed: unknown key; did you mean seeds?",
    "pets_cartpole planner.horizon=3": "planner.horizon: would change the recipe; to run it with "
    "another value type: mbrl train experiment=pets_cartpole planner.horizon=3",
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("recipes")
def test_a_mistake_is_explained_in_one_line(mbrl, words):
    done = mbrl("reproduce", *words.split())
    assert done.code == 2
    assert MISTAKES[words] in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"steps": "many"}, "steps=many: missing, or of another type"),
        ({"retuns": [1]}, "retuns: unknown key; did you mean returns?"),
        ({"seeds": [1]}, "needs two or more seeds, and one of returns for each"),
        ({"returns": ["a", "b"]}, "seeds and returns must be lists of numbers"),
    ],
)
def test_a_damaged_stated_result_is_explained(mbrl, recipes, changes, expected):
    recipes(**changes)
    done = mbrl("reproduce", "tiny", "--config-dir", "recipes")
    assert done.code == 2
    assert expected in done.err
