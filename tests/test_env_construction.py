"""Building environments: wrappers, imports that fail, rewards, pixels, notices."""

import copy
import os
import re
import sys
import types

import numpy as np
import pytest
from gymnasium import spaces
from toy_env import Toy

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError


def test_wrappers_with_arguments_are_applied_in_order():
    env = make_env(
        "CartPole-v1",
        wrappers=[
            "gymnasium.wrappers.FlattenObservation",
            {"_target_": "gymnasium.wrappers.TimeLimit", "max_episode_steps": 7},
        ],
    )
    assert env.spec.max_episode_steps == 7
    assert env.spec.simulator is None  # an unknown wrapper may change the dynamics


WRONG_WRAPPERS = {
    "env.wrappers=7: must be a list": 7,
    "env.wrappers[0]=7: allowed are package.Wrapper": [7],
    "env.wrappers[0]=no_such_package.W: cannot import no_such_package": ["no_such_package.W"],
    "has no wrapper FlattenObservatio; did you mean FlattenObservation": [
        "gymnasium.wrappers.FlattenObservatio"
    ],
    "env.wrappers[0]=gymnasium.wrappers.TimeLimit: failed with {} (TypeError": [
        "gymnasium.wrappers.TimeLimit"
    ],
    "env.wrappers[0]=math.sin: failed with {}": ["math.sin"],
    "env.wrappers[0]=builtins.type: returned type; it must return a gymnasium.Env": [
        "builtins.type"
    ],
}


@pytest.mark.parametrize("text", WRONG_WRAPPERS)
def test_a_wrong_wrapper_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=re.escape(text)) as caught:
        make_env("CartPole-v1", wrappers=WRONG_WRAPPERS[text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "statement", ["raise RuntimeError('no display')", "import sys; sys.exit(0)"]
)
def test_an_import_that_raises_anything_is_one_line(tmp_path, monkeypatch, statement):
    (tmp_path / "raising_package.py").write_text(statement, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"env\.id=raising_package:X-v0: cannot import"):
        make_env("raising_package:X-v0")


def test_vector_rewards_are_refused_before_the_first_step(register):
    class Objectives(Toy):
        reward_space = spaces.Box(-1, 1, (2,))

    with pytest.raises(UserError, match=r"rewards are vectors \[2\]; .*LinearReward"):
        make_env(register(Objectives))


def test_an_unknown_version_suggests_the_newest_and_a_package_is_not_asked_for_twice():
    with pytest.raises(UserError, match=r"did you mean CartPole-v1\?"):
        make_env("CartPole-v7")
    with pytest.raises(
        UserError, match=r"unknown environment; math registers nothing with gymnasium"
    ) as caught:
        make_env("math:Qqqqqqqq-v0")
    assert "package:Name" not in str(caught.value)


def test_nan_in_the_arguments_is_refused():
    with pytest.raises(UserError, match=r"env\.kwargs\.gravity\[0\]=nan: must be a number"):
        make_env("CartPole-v1", kwargs={"gravity": [float("nan")]})


def test_pixels_without_a_display_choose_egl(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    make_env("mbrl/GridWorld-v0", obs="pixels")
    assert sys.platform != "linux" or os.environ["MUJOCO_GL"] == "egl"


def test_notices_name_action_masks_unbounded_actions_and_sparse_goals():
    taxi = make_env("Taxi-v4")
    taxi.reset(0)
    assert "returns action masks in info; they are ignored" in taxi.notices()[0]
    unbounded = Env(Toy(spaces.Box(-np.inf, np.inf, (2,))))
    assert "2 of 2 action entries lack a bound" in unbounded.notices()[0]
    goal = Toy()
    part = spaces.Box(-1, 1, (1,))
    goal.observation_space = spaces.Dict(observation=part, achieved_goal=part, desired_goal=part)
    assert Env(goal).notices() == []  # nothing says that its rewards are sparse
    goal.task = types.SimpleNamespace(reward_type="sparse")
    assert "goal environment with sparse rewards" in Env(goal).notices()[0]
    goal.task.reward_type = "dense"
    assert Env(goal).notices() == []
    assert copy.deepcopy(taxi).notices() == taxi.notices()


def test_wrappers_of_a_foreign_run_need_trust(mbrl, tmp_path, monkeypatch):
    words = [
        "env=cartpole", "agent=random", "total_steps=20", "prefill_steps=10", "eval_every=0",
        "final_eval_episodes=1", "console=false", "env.termination=learned",
        "env.wrappers=[gymnasium.wrappers.FlattenObservation]", "hydra.run.dir=run",
    ]  # fmt: skip
    assert mbrl("train", *words).code == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of another user"))
    done = mbrl("eval", "run")
    assert done.code == 2
    assert "env.wrappers=['gymnasium.wrappers.FlattenObservation'] imports other code" in done.err
    assert mbrl("eval", "run", "--trust").code == 0
