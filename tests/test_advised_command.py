"""Commands that a diagnosis advises."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mbrl_cli.diagnosis.advised_command import better_model, train_again
from mbrl_cli.models.linear import Linear


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
