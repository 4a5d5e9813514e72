"""`debug=fast` and `debug=profile`."""

import pytest
import yaml

from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.debug_settings import apply_limits
from mbrl_cli.config.groups import choices
from mbrl_cli.console.time_profile import time_profile
from mbrl_cli.errors import UserError
from mbrl_cli.stopwatch import Stopwatch


def limited(*words):
    config = compose_config(["debug=fast", *words])
    apply_limits(config, words)
    return config


def test_larger_values_become_the_limits_and_typed_ones_stay():
    config = limited("agent=mbpo", "planner=none", "total_steps=500", "agent.sac.hidden=[64,64]")
    assert config.total_steps == 500  # typed
    assert config.agent.sac.hidden == [64, 64]  # typed, inside a section
    assert config.prefill_steps == 20
    assert config.eval_every == 30  # an eighth of 500 is more
    assert config.env.max_episode_steps == 20  # null is no limit
    assert config.model.hidden == [8]  # one layer
    assert config.model.num_members == 2
    assert config.model.learning_rate == 3e-3  # has no limit
    assert config.agent.rollout_length == 2  # CartPole recommends a list
    assert config.agent.sac.updates_per_step == 1
    assert config.debug == {}


def test_smaller_values_and_keys_that_a_choice_lacks_stay():
    config = limited("model=mlp", "planner=mcts", "agent=alphazero", "checkpoint_every=5")
    assert config.model.num_members == 1
    assert config.checkpoint_every == 5
    assert config.planner.num_simulations == 4
    assert "population" not in config.planner


def test_without_debug_nothing_changes():
    config, before = compose_config(), compose_config()
    apply_limits(config, [])
    assert config == before


def test_limits_of_another_form_are_refused():
    config = compose_config(["++debug.limits.planers.horizon=3"])
    with pytest.raises(UserError, match="must be a mapping of run, env, model, planner, agent"):
        apply_limits(config, [])


@pytest.mark.parametrize("agent", choices("agent"))
def test_every_agent_runs_from_start_to_end(mbrl, tmp_path, agent):
    words = ["debug=fast", f"agent={agent}", "console=false", "device=cpu"]
    done = mbrl("train", *words, "hydra.run.dir=run")
    assert done.code == 0, done.err
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["total_steps"] == 60
    assert "limits" not in saved["debug"]


def test_the_composed_config_and_the_jobs_of_a_sweep_have_the_limits(mbrl, tmp_path):
    shown = mbrl("train", "debug=fast", "--cfg", "job", "--resolve")
    assert yaml.safe_load(shown.out)["total_steps"] == 60
    words = ["debug=fast", "agent=random", "seed=0,1", "console=false", "hydra.sweep.dir=sweep"]
    assert mbrl("train", "-m", *words).code == 0
    for seed in range(2):
        saved = yaml.safe_load((tmp_path / "sweep" / f"s{seed}" / "config.yaml").read_text())
        assert saved["total_steps"] == 60


def test_the_profile_has_the_measured_seconds():
    watch = Stopwatch(iter([0.0, 1.0, 1.0, 4.0, 4.0, 8.0]).__next__)
    for phase in ("env", "plan", "plan"):
        with watch(phase):
            pass
    watch.seconds["fit"] += 100.0  # from before the run was resumed
    lines = [line.split() for line in time_profile(watch, 0.5, 10.0)]
    assert lines[1] == ["actions", "(planning)", "7.00", "70.0%", "2", "3500.00"]
    assert lines[2] == ["environment", "steps", "1.00", "10.0%", "1", "1000.00"]
    assert lines[3] == ["logging", "0.50", "5.0%", "-", "-"]
    assert ["other", "1.50", "15.0%", "-", "-"] in lines
    assert lines[-1] == ["total", "10.00", "100.0%", "-", "-"]


def test_profile_prints_the_table_at_the_end_of_a_run(mbrl):
    done = mbrl("train", "debug=[fast,profile]", "agent=random", "console=false")
    assert done.code == 0, done.err
    table = done.out[done.out.index("time ") :]
    assert "environment steps" in table
    assert "evaluations" in table
