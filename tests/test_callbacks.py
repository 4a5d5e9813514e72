"""Early stopping and a user's metrics: the run ends, counts as finished, and resumes exactly."""

import csv
import signal

import numpy as np
import pytest

from mbrl_cli.api.loading import load_run
from mbrl_cli.callbacks.base import Callback
from mbrl_cli.callbacks.callback_list import CallbackList
from mbrl_cli.callbacks.stop_at_return import StopAtReturn
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import StopRequested
from mbrl_cli.evaluation import Evaluation

RUN = [
    "train", "env=cartpole", "agent=random", "total_steps=90", "eval_every=20", "eval_episodes=1",
    "final_eval_episodes=1", "checkpoint_every=10", "env.max_episode_steps=10", "console=false",
]  # fmt: skip
STOP = "stop_at_return=5"  # random episodes are longer, so the first evaluation reaches it


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [(int(r["env_step"]), r["tag"], float(r["value"])) for r in csv.DictReader(file)]
    return [row for row in rows if not row[1].startswith("time/")]


def evaluation(*returns):
    values = np.array(returns, np.float64)
    return Evaluation([0] * len(values), values, values.astype(np.int64))


def test_the_threshold_counts_for_the_mean_return():
    stop = StopAtReturn(10.0)
    stop.after_evaluation(100, evaluation(2.0, 17.0))
    assert stop.stop_reason() is None
    stop.after_evaluation(200, evaluation(2.0, 18.0))
    assert stop.stop_reason() == "eval/return 10 >= stop_at_return=10"


def test_metrics_are_joined_and_states_belong_to_names():
    class Counter(Callback):
        def __init__(self, tag):
            self.tag, self.count = tag, 0

        def after_evaluation(self, env_step, evaluation):
            self.count += 1
            return {self.tag: self.count}

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    one = CallbackList({"a": Counter("own/a"), "b": Counter("own/b")})
    assert one.after_evaluation(1, evaluation(1.0)) == {"own/a": 1, "own/b": 1}
    assert one.stop_reason() is None
    other = CallbackList({"b": Counter("own/b"), "new": Counter("own/new")})
    other.load_state_dict(one.state_dict())
    assert other.after_evaluation(2, evaluation(1.0)) == {"own/b": 2, "own/new": 1}


def test_a_stopped_run_is_finished_and_goes_on_where_it_is_told_to(mbrl, tmp_path):
    assert mbrl(*RUN, "hydra.run.dir=whole").code == 0
    done = mbrl(*RUN, STOP, "console=true", "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert "stopped at step 20: eval/return" in done.out
    folder = tmp_path / "run"
    steps = [step for step, tag, _ in rows_of(folder) if tag == "eval/return"]
    assert steps == [20, 20]  # the one that reached the return, and the final one
    run = load_run(folder)
    assert (run.state, run.steps) == ("finished", 20)
    assert (folder / "stopped.txt").read_text().endswith(" >= stop_at_return=5\n")
    again = mbrl("resume", "run")
    assert again.code == 0
    assert "finished at step 20 (eval/return" in again.out
    assert "to go on type: mbrl resume run stop_at_return=null" in again.out
    assert mbrl("resume", "run", "stop_at_return=null").code == 0
    assert rows_of(folder) == rows_of(tmp_path / "whole")
    assert not (folder / "stopped.txt").exists()


def test_a_run_that_was_interrupted_before_it_stops_stops_at_the_same_step(
    mbrl, tmp_path, raise_at_call
):
    assert mbrl(*RUN, STOP, "hydra.run.dir=whole").code == 0
    raise_at_call(Env, "step", 17, StopRequested(signal.SIGTERM))
    assert mbrl(*RUN, STOP, "hydra.run.dir=run").code == 128 + signal.SIGTERM
    assert mbrl("resume", "run").code == 0
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("yaml", "text"),
    [
        ("_target_: own.Own", "callbacks._target_: has no _target_"),
        ("own:\n  a: 1", "callbacks.own: has no _target_"),
        ("own:\n  _target_: own.Missing", "callbacks._target_=own.Missing: cannot be imported"),
        ("own:\n  _target_: own.NoCallback", "callbacks.own=own.NoCallback: must be a class"),
        ("own:\n  _target_: own.Own\n  lenght: 1", "callbacks.own.lenght: unknown key"),
        ("own:\n  _target_: own.Own\n  length: x", "callbacks.own.length=x: must be"),
    ],
)  # fmt: skip
def test_a_wrong_callback_is_one_line_before_the_run(mbrl, tmp_path, yaml, text, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from mbrl_cli.callbacks.base import Callback\n"
        "class Own(Callback):\n    def __init__(self, length: int = 1): pass\n"
        "class NoCallback: pass\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "own", raising=False)
    group = tmp_path / "my_configs" / "callbacks"
    group.mkdir(parents=True)
    (group / "own.yaml").write_text(yaml)
    done = mbrl(*RUN, "--config-dir", "my_configs", "callbacks=own", "hydra.run.dir=run")
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert text in done.err
    assert not (tmp_path / "run").exists()
