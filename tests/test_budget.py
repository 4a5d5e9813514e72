"""`budget=30min`: the value, the number of steps that fits, and what is saved."""

import pytest
import yaml
from conftest import TINY_RUN
from run_folders import refused

from mbrl_cli.api.loading import load_run
from mbrl_cli.config import budget
from mbrl_cli.config.budget import apply_budget
from mbrl_cli.config.budget_text import parse_budget
from mbrl_cli.config.run_cost import RunCost
from mbrl_cli.console.remaining_time import RemainingTime
from mbrl_cli.errors import UserError

WORDS = ["env=pendulum", *TINY_RUN, "console=false", "eval_every=0", "final_eval_episodes=1"]
WORDS = [word for word in WORDS if not word.startswith("total_steps=")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("30min", 1800.0), ("2h", 7200.0), ("1h30min", 5400.0), ("0.5h", 1800.0)],
)
def test_the_value_is_a_time_with_its_unit(text, seconds):
    assert parse_budget(text) == seconds
    assert parse_budget(None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (30, "budget=30: must be a time with its unit, such as 90s, 30min, 2h or 1h30min"),
        ("soon", "budget=soon: must be a time with its unit"),
        ("", "budget=: must be a time with its unit"),
        ("-5min", "budget=-5min: must be a time"),
        ("5s", "budget=5s: must be at least 10s"),
    ],
)
def test_a_wrong_value_is_explained(value, text):
    with pytest.raises(UserError, match=text):
        parse_budget(value)


@pytest.fixture
def measured(monkeypatch):
    """Replace the measurement: a decision takes 1 ms for each plan, a fit 2 s, nothing else."""

    def measure_run(run, replay, env_seconds, limit, max_seconds, max_fit_seconds):
        decision = run.planner.population / 1000.0
        remaining = RemainingTime.of_run(run.settings, limit)
        for _ in range(10):
            remaining.add_step(decision, decision)
        remaining.add_fit(2.0)
        return RunCost(decision, 0.0, 2.0, 1, 10, 0.0, remaining, 0.0, max_fit_seconds < 2.0, 0.0)

    monkeypatch.setattr(budget, "measure_run", measure_run)


def test_the_steps_fill_the_budget(measured, compose_run):
    words = [*WORDS, "budget=10min"]
    config = compose_run(*words)
    lines = apply_budget(config, words)
    # Of 600 s 90 % are used. After 20 random steps a step takes 12 ms, and every tenth has a fit of
    # 2 s: 10 steps take 2.12 s. The final episode has 10 steps: 0.12 s. 539.88 s hold 2,546 steps.
    assert config.total_steps == 2500  # two digits
    assert "total_steps=" in lines[1]
    assert "-> 2500" in lines[1]


def test_with_too_little_time_the_planner_gets_fewer_plans(measured, compose_run):
    words = [word for word in WORDS if not word.startswith("planner.population")]
    words = [*words, "budget=80s", "agent.fit_every=100"]
    config = compose_run("++planner.population=400", *words)
    lines = apply_budget(config, words)
    # 220 steps take 200 * 0.4 s + 2 fits of 2 s + 10 * 0.4 s = 88 s of 72 s: half of the plans.
    assert config.planner.population == 200
    assert "planner.population=400 -> 200" in lines[1]
    assert config.total_steps >= 220


def test_a_budget_that_is_too_short_names_one_that_is_not(measured, compose_run):
    words = [*WORDS, "budget=45s"]  # 200 steps have 20 fits of 2 s and 40.5 s are used
    with pytest.raises(UserError, match=r"budget=45s: too short; 220 steps, .* use budget=1min"):
        apply_budget(compose_run(*words), words)
    words = [*WORDS, "budget=20s"]
    with pytest.raises(UserError, match=r"the first fit takes more than 1\.0 s, 5% of it"):
        apply_budget(compose_run(*words), words)
    words = [*WORDS, "budget=1h", "total_steps=70"]
    with pytest.raises(UserError, match="sets total_steps, which is given, too"):
        apply_budget(compose_run(*words), words)


def test_without_a_budget_nothing_is_measured(compose_run):
    config = compose_run(*WORDS)
    before = yaml.safe_dump(config.total_steps)
    assert apply_budget(config, WORDS) == []
    assert yaml.safe_dump(config.total_steps) == before


def test_the_run_has_the_number_of_steps_that_was_measured(mbrl, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "MAX_STEPS", 90)  # the real measurement, and a short run
    monkeypatch.setattr(budget, "FEW_STEPS", 20)
    monkeypatch.setattr(budget, "FIT_FRACTION", 0.5)
    done = mbrl("train", *WORDS, "budget=1h", "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert "budget    1h: a step of the environment takes" in done.out
    run = load_run(tmp_path / "run")
    assert 80 <= run.total_steps <= 90
    assert run.state == "finished"
    assert run.config["budget"] == "1h"
    assert "finished its" in mbrl("resume", "run").out  # nothing is measured again
    refused(mbrl("train", *WORDS, "budget=30", "hydra.run.dir=other"), "budget=30: must be a time")
    done = mbrl("train", "-m", *WORDS, "seed=0,1", "budget=1h", "hydra.sweep.dir=sweep")
    assert done.code == 2
    assert "budget=1h: is for one run, not for the jobs of a sweep" in done.err
