"""`--config-dir DIR`: choices and classes of the user work in train, list, eval and resume."""

import sys

import pytest
from omegaconf import OmegaConf

MODULE = '''
from typing import Annotated

import torch

from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.types import Bounds


class Constant(Planner):
    """Planner that always executes the first action."""

    def __init__(self, action, device, horizon: int = 4,
                 speed: Annotated[float, Bounds(0.0, 2.0)] = 1.0):
        super().__init__(action, device, horizon)
        self.speed = speed

    def plan(self, world, state, memory, generator, disagreement_bonus=0.0):
        rows = len(next(iter(state.values())))
        actions = torch.zeros(rows, self.horizon, self.action.dim)
        actions[..., 0] = 1.0
        return Plan(actions, memory=memory)


def never(obs, action, next_obs):
    return torch.zeros(obs.shape[:-1], dtype=torch.bool)
'''
PLANNER = """\
# always the first action
_target_: my_planner.Constant
speed: ${for_env:my_speed,1.5}   # units of the action,
                                 # per step
"""
ENV = """\
# CartPole of mine
defaults:
  - cartpole
  - _self_
termination: my_planner:never
recommended:
  horizon: 7   # imagined steps
"""
DIR = ["--config-dir", "mine"]


@pytest.fixture
def mine(tmp_path):
    """Write a module and a folder of YAML files that names its class."""
    (tmp_path / "my_planner.py").write_text(MODULE)
    for group, name, text in (("planner", "constant", PLANNER), ("env", "my_cartpole", ENV)):
        (tmp_path / "mine" / group).mkdir(parents=True)
        (tmp_path / "mine" / group / f"{name}.yaml").write_text(text)
    return tmp_path / "mine"


@pytest.fixture
def small(tiny_run):
    """Return the words of a short run, without keys that the planner of the user lacks."""
    return [w for w in tiny_run if not w.startswith(("planner", "agent=mpc"))]


def test_list_shows_the_choices_of_the_folder(mbrl, mine):
    assert "constant         always the first action" in mbrl("list", "planner", *DIR).out
    assert "my_cartpole" in mbrl("list", *DIR).out
    assert "constant" not in mbrl("list", "planner").out
    assert "constant" in mbrl("train", "--help", *DIR).out


def test_list_shows_the_keys_of_a_class_with_defaults_of_its_signature(mbrl, mine):
    lines = mbrl("list", "planner", "constant", "env=my_cartpole", *DIR).out.splitlines()
    (speed,) = [line for line in lines if line.startswith("planner.speed")]
    assert speed.split("  ")[0] == "planner.speed"
    for text in ("1.5*", "a number in [0, 2]", "units of the action, per step"):
        assert text in speed
    # YAML does not have `horizon`, so the environment's value does not apply.
    (horizon,) = [line for line in lines if line.startswith("planner.horizon")]
    assert horizon.split()[:3] == ["planner.horizon", "4", "4"]


def test_a_plain_value_in_the_users_yaml_counts_in_every_environment(mbrl, mine):
    (mine / "planner" / "fixed.yaml").write_text("_target_: my_planner.Constant\nhorizon: 3\n")
    done = mbrl("train", *DIR, "env=my_cartpole", "planner=fixed", "--cfg", "job")
    config = OmegaConf.create(done.out)
    assert (config.planner.horizon, config.env.recommended.horizon) == (3, 7)


@pytest.mark.parametrize("more", [[], ["--cfg", "job"]])
def test_a_misspelled_key_is_answered_with_the_keys_of_the_class(mbrl, mine, more):
    done = mbrl("train", *DIR, "planner=constant", "planner.sped=1", *more)
    assert done.err == "mbrl: planner.sped: unknown key; did you mean speed?\n"
    done = mbrl("train", *DIR, "planner=constant", "planner.population=1", *more)
    assert done.err == "mbrl: planner.population: unknown key; allowed are horizon, speed\n"
    assert done.code == 2


def test_a_key_that_only_the_signature_has_can_be_given(mbrl, mine):
    done = mbrl("train", *DIR, "planner=constant", "planner.horizon=9", "--cfg", "job")
    assert done.code == 0
    assert OmegaConf.create(done.out).planner.horizon == 9
    done = mbrl("train", *DIR, "planner=constant", "planner.horizon=many")
    assert "planner.horizon=many: must be a whole number" in done.err


def test_a_run_with_a_class_of_the_user_can_be_evaluated_and_resumed(mbrl, mine, small):
    words = ["env=my_cartpole", "planner=constant", "planner.horizon=5", "check_known=false"]
    assert mbrl("train", *DIR, *small, *words, "hydra.run.dir=run").code == 0
    assert mbrl("eval", "run").code == 0  # started by this user, with this config
    (mine.parent / "run" / "origin.json").unlink()
    for command in ("eval", "resume"):
        refused = mbrl(command, "run")
        assert refused.code == 2
        assert "my_planner" in refused.err
        assert "--config-dir" in refused.err
    assert mbrl("eval", "run", "eval_episodes=1", *DIR).code == 0
    assert mbrl("resume", "run", "total_steps=80", *DIR).code == 0
    changed = mbrl("eval", "run", "eval_episodes=1", "planner.sped=2", *DIR)
    assert "planner.sped: unknown key; did you mean speed?" in changed.err


def test_a_saved_run_can_use_a_planner_of_the_user(mbrl, mine, tiny_run):
    assert mbrl("train", *tiny_run, "hydra.run.dir=run").code == 0
    assert mbrl("eval", "run", "eval_episodes=1", "planner=constant", *DIR).code == 0
    done = mbrl("eval", "run", "planner=constant")
    assert done.code == 2
    assert "planner=constant: unknown planner; allowed are cem" in done.err


def test_other_code_in_a_run_folder_still_needs_trust(mbrl, mine, tiny_run, tmp_path):
    assert mbrl("train", *tiny_run, "hydra.run.dir=run").code == 0
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    for change in (
        {"planner": {"_target_": "os.system", "command": "touch executed"}},
        {"planner": {"_target_": "my_planner.never"}},  # in the module, but no YAML names it
        {"model": {"_target_": "my_planner.Constant"}},  # named for another group
        {"env": {"reward": "my_planner:never"}},  # named for another key
    ):
        changed = OmegaConf.merge(config, change)
        (tmp_path / "run" / "config.yaml").write_text(OmegaConf.to_yaml(changed))
        done = mbrl("eval", "run", *DIR)
        assert done.code == 2, change
        assert "--trust" in done.err
    assert not (tmp_path / "executed").exists()


def test_without_config_dir_or_trust_the_current_folder_is_not_importable(mbrl, mine, tiny_run):
    assert mbrl("train", *tiny_run, "hydra.run.dir=run").code == 0
    sys.path[:] = [path for path in sys.path if path != str(mine.parent)]
    mbrl("eval", "run", "eval_episodes=1")
    assert str(mine.parent) not in sys.path
    mbrl("eval", "run", "eval_episodes=1", *DIR)
    assert str(mine.parent) in sys.path


@pytest.mark.parametrize("command", [["train"], ["list"], ["eval", "run"], ["resume", "run"]])
def test_a_file_with_the_name_of_a_choice_of_mbrl_is_refused(mbrl, mine, command):
    (mine / "planner" / "cem.yaml").write_text(PLANNER)
    done = mbrl(*command, *DIR)
    assert done.code == 2
    assert "planner/cem.yaml has the name of a choice of mbrl" in done.err


def test_recommended_keys_may_be_those_of_the_users_files(mbrl, mine):
    (mine / "env" / "fast.yaml").write_text(ENV + "  my_speed: 2.5\n")
    words = ["env=fast", "planner=constant"]
    shown = mbrl("list", "planner", "constant", "env=fast", *DIR).out
    assert "1.5*     2.5" in shown
    done = mbrl("train", *DIR, *words)  # my_speed is known; its value is out of range
    assert done.err == "mbrl: planner.speed=2.5: must be a number in [0, 2]\n"
    (mine / "env" / "fast.yaml").write_text(ENV + "  my_sped: 2.5\n  agents: {mpc: {horizn: 3}}\n")
    done = mbrl("train", *DIR, *words)
    assert "env.recommended.my_sped: unknown key; did you mean my_speed" in done.err
    (mine / "env" / "fast.yaml").write_text(ENV + "  agents: {mpc: {horizn: 3}}\n")
    done = mbrl("train", *DIR, *words)
    assert "env.recommended.agents.mpc.horizn: unknown key; did you mean horizon" in done.err
    (mine / "env" / "fast.yaml").write_text(ENV + "  agents: {mpcc: {horizon: 3}}\n")
    done = mbrl("train", *DIR, *words)
    assert "env.recommended.agents.mpcc: unknown key; did you mean mpc" in done.err
