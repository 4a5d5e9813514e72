"""Names of the jobs of a sweep: only what differs, and nothing that a shell or Hydra reads."""

import re
from itertools import product

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mbrl_cli.config.job_name import MAX_NAME, job_name
from mbrl_cli.config.sweep_folder import refuse_sweep_folder
from mbrl_cli.errors import UserError


@pytest.mark.parametrize(
    ("overrides", "keys", "name"),
    [
        (["env=cartpole", "planner=cem", "seed=0"], ["planner", "seed"], "cem_s0"),
        (["seed=2", "planner=random_shooting"], ["seed", "planner"], "random_shooting_s2"),
        (["++planner.horizon=20", "seed=0"], ["planner.horizon", "seed"], "horizon-20_s0"),
        (["agent=mbpo", "model=mlp", "env=pendulum"], [], "pendulum_mlp_mbpo"),
        (["++model.hidden=[64,64]"], ["model.hidden"], "hidden-64x64"),
        (["env.id=dm_control/walker-walk-v0"], ["env.id"], "id-dm_control-walker-walk-v0"),
        (["agent.discount=0.9", "agent.sac.discount=0.8"], [],
         "agent.discount-0.9_agent.sac.discount-0.8"),
        (["planner.bonus=-1e-3"], [], "bonus--1e-3"),
        (["+env.kwargs.map='4x4'"], [], "map-4x4"),
        ([], [], "run"),
        (["hydra.sweep.dir=a"], [], "run"),
    ],
)  # fmt: skip
def test_a_job_is_named_by_the_values_that_differ(overrides, keys, name):
    assert job_name(overrides, keys) == name


VALUES = [
    "a b", "a,b", "a=b", "{a:1}", "{a:2}", "[[0,1],[2,3]]", "[[0,1],[2,4]]", "", "'x y'", "x.y",
    "/data/one/run", "/data/two/run", "ä", "$(touch x)",
    "long" * 30, "long" * 30 + "er", "1.0", "1",
]  # fmt: skip


def test_different_values_have_different_names_that_need_no_quotes():
    for key in ("env.kwargs.text", "model_from"):
        names = [job_name([f"{key}={value}"]) for value in VALUES]
        assert len(set(names)) == len(VALUES)
        for name in names:
            assert re.fullmatch(r"[A-Za-z0-9_.-]+", name), name
            parsed = OverridesParser.create().parse_override(f"model_from=outputs/{name}")
            assert parsed.value() == f"outputs/{name}"


def test_a_name_of_many_keys_is_bounded_and_stays_distinct():
    keys = [f"agent.key_number_{i}" for i in range(9)]
    jobs = list(product(("0", "1"), repeat=9))
    names = {
        job_name([f"{k}=value{v}" for k, v in zip(keys, job, strict=True)], keys) for job in jobs
    }
    assert len(names) == len(jobs)
    assert max(map(len, names)) <= MAX_NAME


def test_runs_of_a_sweep_are_listed_in_the_order_of_their_numbers(tmp_path):
    for name in ("s10", "s2", "0_old=1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    with pytest.raises(UserError, match="takes one: 0_old=1  s2  s10; type"):
        refuse_sweep_folder("eval", tmp_path)
