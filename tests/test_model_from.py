"""`model_from`: a new run starts with the model of another, optionally frozen or with its data."""

import shutil
import signal

import numpy as np
import pytest
import torch

from mbrl_cli.agents.random import random_actions
from mbrl_cli.checkpoint import load_checkpoint
from mbrl_cli.checkpoint_store import load_newest_replay
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.known_function_check import check_known_functions
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import StopRequested
from mbrl_cli.replay.buffer import ReplayBuffer


def model_of(folder):
    """Return the state of the model in the final checkpoint of a run."""
    return load_checkpoint(folder / "checkpoint.safetensors")["agent"]["model"]


def tags(folder):
    return {row.split(",")[1] for row in (folder / "metrics.csv").read_text().splitlines()[1:]}


@pytest.fixture
def source(mbrl, tiny_run, tmp_path):
    assert mbrl("train", "env=pendulum", *tiny_run, "hydra.run.dir=source").code == 0
    return tmp_path / "source"


@pytest.fixture
def new(tiny_run):
    return ["train", "env=pendulum", *tiny_run, "prefill_steps=0", "seed=7", "model_from=source"]


def test_a_frozen_model_plans_from_the_first_step_and_never_changes(mbrl, source, new, tmp_path):
    done = mbrl(*new, "model_from_frozen=true", "total_steps=20", "env.reward=known",
                "hydra.run.dir=new")  # fmt: skip
    assert done.code == 0, done
    before, after = model_of(source)["net"], model_of(tmp_path / "new")["net"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "model/train_loss" not in tags(tmp_path / "new")
    assert "planner/predicted_return" in tags(tmp_path / "new")


def test_with_its_replay_a_model_is_fitted_to_the_data_of_both_runs(mbrl, source, new, tmp_path):
    assert mbrl(*new, "model_from_replay=true", "hydra.run.dir=new").code == 0
    source_replay, episodes = load_newest_replay(source)
    new_replay, new_episodes = load_newest_replay(tmp_path / "new")
    rows = len(source_replay["reward"])
    assert (new_replay["obs"][:rows] == source_replay["obs"]).all()
    # The last checkpoint of 60 steps is at step 50, at the end of the fifth episode.
    assert len(new_replay["reward"]) == rows + 50
    assert new_episodes == episodes + 5
    before, after = model_of(source)["net"], model_of(tmp_path / "new")["net"]
    assert not all(torch.equal(before[name], after[name]) for name in before)


def test_such_a_run_can_be_resumed_without_its_source_and_gives_the_same_bits(
    mbrl, source, new, tmp_path, monkeypatch
):
    new = [*new, "model_from_replay=true"]
    assert mbrl(*new, "hydra.run.dir=whole").code == 0
    real, calls = Env.step, []

    def step(self, action):
        calls.append(1)
        if len(calls) == 55:
            raise StopRequested(signal.SIGTERM)
        return real(self, action)

    monkeypatch.setattr(Env, "step", step)
    assert mbrl(*new, "hydra.run.dir=interrupted").code == 128 + signal.SIGTERM
    shutil.rmtree(source)
    assert mbrl("resume", "interrupted").code == 0
    name = "checkpoint.safetensors"
    assert (tmp_path / "interrupted" / name).read_bytes() == (
        tmp_path / "whole" / name
    ).read_bytes()


def test_known_functions_agree_with_their_environments():
    """300 random steps of each environment; otherwise a run would refuse its known functions."""
    for id in ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCarContinuous-v0",
               "mbrl/GridWorld-v0", "mbrl/CartPoleContinuous-v0"):  # fmt: skip
        env = make_env(id, reward="known", termination="known")
        generator = torch.Generator().manual_seed(0)
        replay = ReplayBuffer(300, env.spec.obs_dim, env.spec.action.dim)
        obs = env.reset(0)
        for _ in range(300):
            action = random_actions(env.spec.action, 1, generator)[0]
            next_obs, reward, terminated, truncated = env.step(action)
            replay.add(obs, action, reward, next_obs, terminated, truncated)
            obs = env.reset(None) if terminated or truncated else next_obs
        check_known_functions(env.spec, replay.batch(np.arange(300)))
