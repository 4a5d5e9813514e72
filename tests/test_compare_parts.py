"""Parts of `mbrl compare`: names of groups, known bounds, names of tasks, axes of charts."""

import numpy as np
import pytest

from mbrl_cli.reports.baseline import plain_task
from mbrl_cli.reports.chart_axis import ChartAxis, fitted_axis, tick_text
from mbrl_cli.reports.group_names import RunSettings, differing_values, name_groups
from mbrl_cli.reports.return_bounds import known_bounds, solved_return


def settings(planner="cem", env="CartPole-v1", typed=(), **values):
    choices = {"env": env, "agent": "mpc", "planner": planner, "model": "ensemble"}
    return RunSettings(env, choices, {"seed": 0, "planner.horizon": 20, **values}, typed)


def test_groups_are_named_by_what_differs():
    runs = [settings("cem"), settings("mppi"), settings("cem", seed=1)]
    assert name_groups(runs) == ["cem", "mppi", "cem"]
    assert name_groups(runs[:1] + runs[2:]) == ["mpc cem ensemble"] * 2
    runs = [settings("none"), settings("cem")]
    assert name_groups(runs) == ["no planner", "cem"]
    horizons = [
        settings("cem", **{"planner.horizon": h, "model.accuracy_horizon": h}) for h in (10, 20)
    ]
    # The model's key follows the planner's: the typed one is named, or else the first one.
    typed = [RunSettings(s.env, s.choices, s.values, ["planner.horizon"]) for s in horizons]
    assert name_groups([*typed, settings("mppi")]) == ["cem horizon=10", "cem horizon=20", "mppi"]
    assert name_groups(horizons) == ["horizon=10", "horizon=20"]
    both = [settings(**{"planner.rate": r, "agent.rate": a}) for r, a in [(1, 1), (1, 2), (3, 1)]]
    assert name_groups(both) == [
        "planner.rate=1 agent.rate=1", "planner.rate=1 agent.rate=2", "planner.rate=3 agent.rate=1",
    ]  # fmt: skip


def test_settings_that_differ_are_listed_with_their_values():
    runs = [settings("cem"), settings("mppi", **{"planner.horizon": 30}), settings("cem", seed=1)]
    runs.append(settings("cem", "Pendulum-v1", **{"planner.horizon": 50}))
    assert differing_values(runs) == {"planner": ["cem", "mppi"], "planner.horizon": ["20", "30"]}


def test_what_an_environment_recommends_does_not_form_groups():
    runs = [
        settings("cem"), settings("mppi"),
        settings("cem", "Pendulum-v1", **{"planner.horizon": 50}),
        settings("mppi", "Pendulum-v1", **{"planner.horizon": 50}),
    ]  # fmt: skip
    assert name_groups(runs) == ["cem", "mppi", "cem", "mppi"]
    assert name_groups(runs, ["planner.horizon", "planner"]) == [
        "horizon=20 cem", "horizon=20 mppi", "horizon=50 cem", "horizon=50 mppi",
    ]  # fmt: skip


def test_a_key_that_is_newer_than_a_run_makes_no_difference():
    runs = [settings(), settings(**{"planner.new": 1})]
    assert len(set(name_groups(runs))) == 1
    runs.append(settings(**{"planner.new": 2}))
    assert name_groups(runs) == ["new=unset", "new=1", "new=2"]


def test_names_of_tasks():
    assert plain_task("Hopper-v5") == plain_task("hopper") == "hopper"
    assert plain_task("dm_control/cartpole-swingup-v0") == plain_task("cartpole_swingup")
    assert plain_task("HalfCheetah-v5") == plain_task("half-cheetah") == "half-cheetah"


def test_bounds_hold_for_unchanged_environments_only():
    assert known_bounds({"id": "CartPole-v1"}) == (0.0, 500.0)
    assert known_bounds({"id": "CartPole-v1", "max_episode_steps": 50}) is None
    assert known_bounds({"id": "CartPole-v1", "wrappers": ["a.B"]}) is None
    assert known_bounds({"id": "dm_control/walker-walk-v0"}) == (0.0, 1000.0)
    assert known_bounds({"id": "Pendulum-v1"}) is None
    assert solved_return({"id": "CartPole-v1"}, None) == (475.0, "gymnasium's reward threshold")
    assert solved_return({"id": "no/such"}, known_bounds({"id": "dm_control/a-v0"}))[0] == 900.0
    assert solved_return({"id": "Pendulum-v1"}, None) is None


def test_the_bounds_of_the_default_grid(compose_run):
    from omegaconf import OmegaConf

    env = OmegaConf.to_container(compose_run("env=gridworld"), resolve=True)["env"]
    assert known_bounds(env) == (-50.0, 93.0)


def test_axes():
    axis = ChartAxis(0.0, 3000.0, 50.0, 650.0)
    assert [axis.position(value) for value in (0, 1500, 3000, 9000)] == [50, 350, 650, 650]
    assert axis.ticks(6) == [0, 500, 1000, 1500, 2000, 2500, 3000]
    assert fitted_axis(5.0, 5.0, 0.0, 1.0).ticks(4) == pytest.approx([4.5, 5.0, 5.5])
    texts = [tick_text(value) for value in (0, 0.25, 500, 2000, 20000, 1.5e6, -1250)]
    assert texts == ["0", "0.25", "500", "2,000", "20k", "1.5M", "-1,250"]


def test_ticks_are_round_for_any_range():
    rng = np.random.default_rng(0)
    for _ in range(200):
        low = rng.normal() * 10.0 ** rng.integers(-3, 6)
        axis = fitted_axis(low, low + 10 ** rng.uniform(-3, 6), 0.0, 1.0)
        ticks = axis.ticks(6)
        assert 2 <= len(ticks) <= 8
        assert axis.low <= ticks[0] + 1e-9 * abs(ticks[0])
