"""`mbrl check` as a command: exit codes, the last line, choices that fit, duration."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from test_check import WORDS, fast  # noqa: F401 (a fixture)
from test_documentation import DOCUMENTS, blocks, commands
from toy_env import Toy

from mbrl_cli.config import run_cost
from mbrl_cli.reports import run_check
from mbrl_cli.reports.fitting_choices import Fit, fitting_choices


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ((0, 0.0, False, {}), "step returned 4 values: this is the interface of Gym before 0.26"),
        ((0, [1.0, 2.0], False, False, {}), "the reward is [1.0, 2.0]"),
        ((np.array([np.nan]), 1.0, False, False, {}), "an observation is not finite: [nan]"),
    ],
)
def test_a_broken_contract_ends_with_exit_code_2(mbrl, register, monkeypatch, result, text):
    register(Toy)
    result = (np.zeros(1, np.float32), *result[1:]) if isinstance(result[0], int) else result
    monkeypatch.setattr(Toy, "step", lambda self, action: result)
    done = mbrl("check", *WORDS)
    assert done.code == 2
    assert text in done.err
    assert len(done.err.splitlines()) == 1
    assert "contract     FAULT: env.id=Toy-v0: step failed" in done.out


def test_an_environment_that_cannot_be_built_is_one_line(mbrl, register):
    register(lambda: 1 / 0)
    done = mbrl("check", *WORDS)
    assert (done.code, done.out) == (2, "")
    assert "env.id=Toy-v0: cannot be built (ZeroDivisionError" in done.err


def test_the_command_needs_an_environment(mbrl):
    done = mbrl("check", "agent=sac")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "env=NAME: must be given" in done.err


def test_choices_that_fit_have_no_reason_and_the_others_have_one(register):
    register(lambda: Toy(spaces.MultiDiscrete([2, 2]), length=20))
    fits = {
        (fit.group, fit.name): fit.reason
        for fit in fitting_choices([*WORDS, "agent=dreamer"], None, lambda _: None)
    }
    assert "needs one discrete action" in fits["agent", "alphazero"]
    assert "SAC needs continuous actions or one discrete" in fits["agent", "sac"]
    assert fits["planner", "mcts"] is None  # with agent=mpc; alphazero needs a discrete action
    works = {key for key, reason in fits.items() if reason is None}
    assert {("agent", "mpc"), ("agent", "dreamer"), ("model", "linear"), ("model", "oracle"),
            ("planner", "cem"), ("planner", "icem")} <= works  # fmt: skip


def test_a_good_environment_ends_with_the_command(mbrl, monkeypatch):
    monkeypatch.setattr(run_check, "fitting_choices", lambda *_: iter(()))
    monkeypatch.setenv("COLUMNS", "80")
    done = mbrl("check", "env=pendulum", "model.max_steps=3", "planner.population=20")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("  mbrl train env=pendulum model.max_steps=3 planner.population=20 "
                             "agent=mpc\n")  # fmt: skip
    assert max(map(len, done.out.splitlines()[:-1])) <= 80
    for text in ("scaled to [-2, 2]", "decision: ", "duration: about 0:", "memory: about "):
        assert text in done.out


def test_another_agent_is_named_if_the_default_one_does_not_fit(mbrl, register, monkeypatch):
    fits = [Fit("agent", "mpc", "", "no Markov state"), Fit("agent", "dreamer", "", None)]
    monkeypatch.setattr(run_check, "fitting_choices", lambda *_: iter(fits))
    monkeypatch.setattr(run_cost, "MAX_FIT_SECONDS", 0.2)  # a first update takes longer

    class Picture(Toy):
        def __init__(self):
            super().__init__(length=20)
            self.observation_space = spaces.Box(0, 255, (16, 16, 3), np.uint8)

        def _obs(self):
            return np.full((16, 16, 3), self.count, np.uint8)

    register(Picture)
    done = mbrl("check", *WORDS)
    assert done.code == 0
    assert "the default agent does not fit, agent=dreamer does" in done.out
    assert "duration: at least " in done.out
    assert torch.is_grad_enabled()  # also if the fit was stopped inside `torch.no_grad`
    assert done.out.endswith("mbrl train env=gym env.id=Toy-v0 device=cpu agent=dreamer\n")
    done = mbrl("check", *WORDS, "agent=sac")
    assert done.code == 2
    assert done.err.startswith("mbrl: agent: SAC needs vector observations")


COMMANDS = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}")
    for path in DOCUMENTS
    for words in commands(path, "check")
]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_the_documentation_runs(mbrl, monkeypatch, tmp_path, words):
    monkeypatch.setattr(run_check, "fitting_choices", lambda *_: iter(()))
    page = next(path for path in DOCUMENTS if path.name == "check.md")
    (tmp_path / "arm.py").write_text(blocks(page, "python")[0], encoding="utf-8")
    small = ["model.max_steps=3", "planner.population=20", "device=cpu"]
    small = [word for word in small if "agent=" not in " ".join(words) or "device" in word]
    done = mbrl("check", *words, *small)
    wrong = "env.reward=arm:wrong_reward" in words
    assert done.code == (2 if wrong else 0), done.err
