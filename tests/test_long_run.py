"""The line about a run that takes hours because its decisions are slow."""

import pytest

from mbrl_cli.config.build import build
from mbrl_cli.console.long_run import MEASURED, long_run_notice


def test_a_long_run_with_slow_decisions_is_reported_once():
    lines = [long_run_notice(n, 0.55, 5400.0, "lower planner.horizon") for n in range(2 * MEASURED)]
    assert [line for line in lines if line is not None] == [
        "a decision takes 0.55 s, so the run takes about 1.5 h more; to shorten it lower "
        "planner.horizon, or lower eval_episodes and final_eval_episodes"
    ]


@pytest.mark.parametrize(("decision", "left"), [(0.05, 5400.0), (0.55, 3000.0), (0.55, None)])
def test_other_runs_are_not_reported(decision, left):
    assert long_run_notice(MEASURED, decision, left, "") is None


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["planner=cem"], "lower planner.population or planner.horizon, or use model.propagation="),
        (["planner=cem", "model=mlp"], "lower planner.population or planner.horizon"),
        (["planner=mcts", "model=mlp"], "lower planner.num_simulations or planner.horizon"),
        (["agent=sac"], ""),
    ],
)
def test_the_advice_names_keys_that_the_run_has(compose_run, words, advice):
    given = build(compose_run("env=cartpole", *words)).agent.cost_advice
    assert given.startswith(advice)
    assert ("propagation" in given) == ("propagation" in advice)
