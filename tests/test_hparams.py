"""The settings by which runs are compared: what a real command leaves in the run folder."""

import yaml

from mbrl_cli.config.hparams import readable_config, run_hparams
from mbrl_cli.config.run_config import read_run_config

SMALL = ["total_steps=5", "final_eval_episodes=1", "console=false"]
CHOICES = {"env": "cartpole", "model": "none", "planner": "none", "agent": "random"}


def hparams_of(folder):
    return run_hparams(folder, read_run_config(folder))


def test_a_sweep_shows_choices_and_the_keys_that_differ(mbrl, tmp_path):
    words = ["-m", "agent=random", "seed=3,4", "env.max_episode_steps=7,8", *SMALL]
    assert mbrl("train", *words, "hydra.sweep.dir=s").code == 0
    hparams, differing = hparams_of(tmp_path / "s" / "max_episode_steps-8_s4")
    assert hparams == CHOICES | {"seed": 4, "env.max_episode_steps": 8}
    assert list(hparams)[:4] == ["env", "model", "planner", "agent"]
    assert sorted(differing) == ["env.max_episode_steps", "seed"]


def test_a_single_run_shows_the_keys_of_the_command_line(mbrl, tmp_path):
    words = ["agent=random", "env=gridworld", "++env.kwargs.size=6", "env.kwargs.goal=[4,5]"]
    assert mbrl("train", *words, *SMALL, "hydra.run.dir=run").code == 0
    hparams, differing = hparams_of(tmp_path / "run")
    given = {
        "env.kwargs.size": 6, "env.kwargs.goal": [4, 5], "total_steps": 5, "final_eval_episodes": 1
    }  # fmt: skip
    assert hparams == CHOICES | {"env": "gridworld", "seed": 0} | given
    assert differing == []
    for name in ("hydra.yaml", "overrides.yaml"):  # also without Hydra's records, or damaged ones
        (tmp_path / "run" / ".hydra" / name).write_text("{[")
    (tmp_path / "run" / "choices.json").unlink()
    hparams, _ = hparams_of(tmp_path / "run")
    assert hparams == {
        "env": "mbrl/GridWorld-v0", "model": "none", "planner": "none", "agent": "Random", "seed": 0
    }  # fmt: skip


def test_the_readable_config_leaves_out_recommendations_and_keeps_lists_in_one_line():
    config = {"env": {"id": "A-v0", "recommended": {"horizon": 5}}, "model": {"hidden": [8, 8]}}
    text = readable_config(config)
    assert "  hidden: [8, 8]\n" in text
    assert yaml.safe_load(text) == {"env": {"id": "A-v0"}, "model": {"hidden": [8, 8]}}
