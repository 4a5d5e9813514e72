"""Training from Python: the run of `mbrl train`, errors as exceptions, an unchanged process."""

import logging
import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import mbrl_cli as mbrl_package
import mbrl_cli.config.train_in_process  # imports of libraries may draw random numbers
from mbrl_cli.errors import EnvironmentFault, UserError


def process_state():
    """Return what a run could change in its process."""
    return {
        "argv": list(sys.argv),
        "hydra": GlobalHydra.instance().hydra,
        "hydra config": HydraConfig.instance().cfg,
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "threads": torch.get_num_threads(),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "folder": os.getcwd(),
        "hydra's variable": os.environ.get("HYDRA_FULL_ERROR"),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    GlobalHydra.instance().clear()
    return tmp_path


def without_times(path):
    lines = (Path(path) / "metrics.csv").read_text().splitlines()
    return [line for line in lines if ",time/" not in line]


def test_a_run_from_python_is_that_of_the_command_line(folder, mbrl, tiny_run):
    before = process_state()
    first = mbrl_package.train(tiny_run)
    second = mbrl_package.train([*tiny_run, "hydra.run.dir=here"])
    assert process_state() == before
    assert first.folder.parent == Path("outputs")
    assert "_cartpole_mpc_cem_s0_" in first.name
    done = mbrl("train", *tiny_run, "hydra.run.dir=there")
    assert done.code == 0, done.err
    there = mbrl_package.load_run("there")
    for run in (first, second):
        assert run.config == there.config
        assert run.choices == there.choices
        assert without_times(run.folder) == without_times("there")
        assert (run.state, run.final_return) == ("finished", there.final_return)
    done = mbrl("resume", "here", "total_steps=70")
    assert done.code == 0, done.err


def test_a_run_in_another_thread_trains_too(folder, tiny_run):
    runs = []
    thread = threading.Thread(target=lambda: runs.append(mbrl_package.train(tiny_run)))
    thread.start()
    thread.join()
    assert runs[0].state == "finished"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["plannr=cem"], "plannr: unknown key"),
        (["planner=cme"], "planner=cme: unknown planner; did you mean cem"),
        (["planner.horizon=0"], "planner.horizon=0: must be a whole number >= 1"),
        (["env=cartpole", "agent=mpc", "model=none"], "agent MPC needs a model"),
        (["planner=cem,icem"], "planner=cem,icem: several values"),
        (["cem"], "cem: is not of the form key=value; did you mean planner=cem"),
        (["-m", "seed=0,1"], "-m: options are for the command line"),
        ("env=cartpole", r"takes a list of words: train\(\[\"env=cartpole\""),
    ],
    ids=str,
)
def test_a_mistake_is_an_exception_and_leaves_no_folder(folder, capfd, words, text):
    before = process_state()
    with pytest.raises(UserError, match=text):
        mbrl_package.train(words)
    assert process_state() == before
    assert list(folder.iterdir()) == []
    assert capfd.readouterr().err == ""


FAULTY = """
import gymnasium
from gymnasium import spaces

class Faulty(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        Faulty.steps += 1
        if Faulty.steps == 250:
            raise ValueError("the simulator fell over")
        return self.observation_space.sample(), 0.0, False, False, {}

gymnasium.register("FaultyFromPython-v0", entry_point=Faulty, max_episode_steps=10)
"""


def test_a_fault_of_the_environment_is_an_exception_and_the_run_failed(folder, tiny_run):
    (folder / "faulty_from_python.py").write_text(FAULTY)
    words = ["env=gym", "env.id=faulty_from_python:FaultyFromPython-v0", "hydra.run.dir=run"]
    rest = [word for word in tiny_run if not word.startswith(("env.", "agent=", "total_"))]
    kept = [word for word in rest if word.partition("=")[0].partition(".")[0] not in (
        "planner", "model", "agent")]  # fmt: skip
    with pytest.raises(EnvironmentFault, match="the simulator fell over"):
        mbrl_package.train([*words, "agent=random", "total_steps=900", *kept])
    run = mbrl_package.load_run("run")
    assert run.state == "failed"
    assert 0 < run.steps < 300


def test_a_run_that_an_unexpected_error_ended_has_failed(folder, tiny_run, monkeypatch):
    def raise_error(*args):
        raise RuntimeError("a bug in a plug-in")

    with monkeypatch.context() as patched:
        patched.setattr("mbrl_cli.agents.mpc.MPC.update", raise_error)
        with pytest.raises(RuntimeError, match="a bug"):
            mbrl_package.train([*tiny_run, "check_known=false", "hydra.run.dir=run"])
    assert "a bug in a plug-in" in (folder / "run" / "fault.txt").read_text()
    assert mbrl_package.load_run("run").state == "failed"
