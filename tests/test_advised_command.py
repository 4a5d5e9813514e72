"""Commands that a diagnosis advises."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mbrl_cli.api.training import train
from mbrl_cli.diagnosis.advised_command import better_model, train_again
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.paired_interval import PairedInterval
from mbrl_cli.diagnosis.substitution_findings import substitution_finding
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variants import first_variants, model_parts
from mbrl_cli.models.linear import Linear
from mbrl_cli.planners.cem import CEM


@pytest.fixture
def run(tmp_path):
    (tmp_path / ".hydra").mkdir()
    words = '[env=mujoco, env.id=Hopper-v5, model=linear, ++model.ridge=1, "tags=[a, b]", seed=7]'
    (tmp_path / ".hydra" / "overrides.yaml").write_text(words)
    return SimpleNamespace(folder=tmp_path, config_dir=None, total_steps=500)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # The task keeps its id: env=mujoco alone is another robot.
        ("env.termination=learned", "model=linear ++model.ridge=1 'tags=[a, b]' seed=7 "),
        ("seed=8", "model=linear ++model.ridge=1 'tags=[a, b]' "),
        ("model=mlp", "'tags=[a, b]' seed=7 "),  # the ridge belongs to the linear model
    ],
)
def test_a_run_is_trained_again_with_its_own_words(run, change, words):
    assert train_again(run, change) == f"mbrl train env=mujoco env.id=Hopper-v5 {words}{change}"


def test_the_folder_of_own_yaml_files_is_named(run):
    run.config_dir = Path("my configs")
    assert train_again(run, "seed=8").startswith("mbrl train --config-dir 'my configs' env=mujoco")


def test_a_linear_model_is_replaced_and_others_get_more_data(run, make_spec):
    linear = Linear(make_spec(), torch.device("cpu"), torch.Generator())
    command = better_model(SimpleNamespace(run=run, model=linear))
    assert command.endswith("seed=7 model=gaussian_ensemble")
    other = better_model(SimpleNamespace(run=run, model=None))
    assert other == "mbrl resume RUN total_steps=1000"


def mbpo_words(folder, act):
    return [
        "env=cartpole", "agent=mbpo", *act, "env.max_episode_steps=6", "total_steps=24",
        "prefill_steps=20", "eval_every=0", "final_eval_episodes=1", "agent.rollouts=4",
        "agent.sac.updates_per_step=0.1", "console=false", "device=cpu", "threads=1",
        f"hydra.run.dir={folder}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("act", "variant", "planner"),
    [
        ([], "planning in the learned model", CEM),
        (["agent.act=plan", "planner=cem"], "policy alone", type(None)),
    ],
)
def test_a_gain_of_the_policy_is_brought_into_an_mbpo_run_by_the_advised_words(
    tmp_path, act, variant, planner
):
    run = DiagnosedRun(train(mbpo_words(tmp_path / "run", act)))
    truth = Truth(run.objects.env, run.new_env, run.objects.device)
    parts = model_parts(run, truth)
    found = {v.name: v for v in first_variants(run, truth, parts)}[variant]
    gain = PairedInterval(9.0, 8.0, 10.0)
    base, other = np.full(4, 10.0), np.full(4, 19.0)
    finding = substitution_finding(run, found, gain, base, other, 1.0)
    assert finding.command == f"mbrl eval RUN {found.override}"
    objects, _ = run.load(found.override.split())
    assert isinstance(objects.planner, planner)
    assert run.play(run.seeds(1), objects.agent)[0].total >= 1.0
