"""Environments, functions and classes with faults, and a fixture that runs a wrong command."""

import shlex
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

EXECUTED = []  # names of code that was executed although it must not be


class Faulty(gymnasium.Env):
    """Environment with one fault, in its 25th step or in the method that `fault` names."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault="none"):
        self.fault, self.steps = fault, 0
        if fault == "constructor":
            raise RuntimeError("no licence")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.fault == "reset":
            raise ZeroDivisionError("division by zero")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        obs, reward = np.zeros(2, np.float32), 1.0
        if self.steps == 25:
            if self.fault == "raise":
                raise ValueError("the simulator\nfell over")
            if self.fault == "exit":
                raise OSError(5, "lost the connection")
            if self.fault == "hang":
                time.sleep(60)
            obs = {
                "not a number": np.array([np.nan, 0.0]),
                "infinite": np.array([np.inf, 0.0]),
                "shape": np.zeros(3),
                "scalar": 1.0,
                "text": np.array(["left", "right"]),
                "none": None,
                "objects": np.array([object(), object()]),
            }.get(self.fault if self.fault != "none" else "", obs)
            reward = {"reward nan": np.nan, "reward text": "much", "reward list": [1, 2]}.get(
                self.fault, 1.0
            )
            if self.fault == "ends":
                return obs, reward, np.array([True, False]), False, {}
            if self.fault == "short":
                return obs, reward, False
        return obs, reward, False, self.steps % 10 == 0, {}

    def close(self):
        if self.fault == "close":
            raise RuntimeError("close failed")


class Images(gymnasium.Env):
    """Environment that observes images of a bar."""

    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, shape=(64, 64, 3)):
        self.observation_space = gymnasium.spaces.Box(0, 255, tuple(shape), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), 0.0, False, self.steps % 10 == 0, {}


def wrong_reward(obs, action, next_obs):
    return torch.ones(obs.shape[:-1]) * 2.0


def never_ends(obs, action, next_obs):
    return torch.zeros(obs.shape[:-1], dtype=torch.bool)


def hostile_termination(obs, action, next_obs):
    EXECUTED.append("hostile_termination")
    return never_ends(obs, action, next_obs)


class RequiresWidth:
    def __init__(self, spec, device, width: int):
        """A model with a hyperparameter that has no default."""


class HostilePickle:
    def __reduce__(self):
        return EXECUTED.append, ("pickle",)


@pytest.fixture
def run_mistake(mbrl, tmp_path, monkeypatch):
    """Return a function that runs a wrong command, checks its result and returns its message."""
    for kind in (Faulty, Images):
        name = f"{kind.__name__}-v0"
        spec = gymnasium.envs.registration.EnvSpec(name, entry_point=kind)
        monkeypatch.setitem(gymnasium.registry, name, spec)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def run(words, code, says):
        before = contents(tmp_path)
        done = mbrl(*shlex.split(words))
        assert done.code == code, done
        assert done.err.startswith("mbrl: "), done
        assert len(done.err.splitlines()) == 1, done
        assert "Traceback" not in done.err + done.out
        assert says in done.err
        after = contents(tmp_path)
        new = after.keys() - before.keys()
        assert {name: after.get(name) for name in before} == before, "a file was changed or deleted"
        if "hydra.run.dir=new" not in words:
            assert not new, "a stray folder or file"
        assert not EXECUTED
        return done.err.strip().removeprefix("mbrl: ").replace(str(tmp_path), ".")

    EXECUTED.clear()
    return run


def contents(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
