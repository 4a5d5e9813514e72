"""Environments that exit, swallow signals, never end an episode, or exist only once."""

import contextlib
import signal
import sys
import time

import numpy as np
import pytest
from toy_env import Toy

from mbrl_cli.agents.random import Random
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.time_limit import time_limit
from mbrl_cli.errors import EnvironmentFault, StopRequested
from mbrl_cli.evaluation import evaluate
from mbrl_cli.evaluation_envs import EvaluationEnvs
from mbrl_cli.signals import raise_if_stop_requested, stop_on_signals


@pytest.fixture
def restore_sigint():
    """Restore the handler of SIGINT after the test."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


# --- exits and signals ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(7), GeneratorExit(), MemoryError()])
def test_an_environment_that_exits_is_a_fault(error):
    class Exits(Toy):
        def step(self, action):
            raise error

    with pytest.raises(EnvironmentFault, match=f"step failed .*{type(error).__name__}"):
        Env(Exits()).step(np.array([1.0, 0.0], np.float32))


def test_close_that_raises_or_exits_does_not_end_the_program():
    class Exits(Toy):
        def close(self):
            sys.exit(0)

    reason = Env(Exits()).close()
    assert reason is not None
    assert reason.endswith("close failed (SystemExit: the environment called sys.exit(0))")


def test_close_that_fails_in_several_instances_prints_one_line(capsys):
    class Fails(Toy):
        def close(self):
            raise RuntimeError("no socket")

    envs = EvaluationEnvs(lambda: Env(Fails()), [Env(Fails())], None)
    envs.take(3)
    envs.close()
    says = "mbrl: env.id=Fails: close failed (RuntimeError: no socket), in 4 of 4 instances\n"
    assert capsys.readouterr().err == says


def test_a_keyboard_interrupt_that_no_signal_caused_is_a_fault_of_the_environment(restore_sigint):
    class Interrupts(Toy):
        def step(self, action):
            raise KeyboardInterrupt

    with stop_on_signals(), pytest.raises(EnvironmentFault, match="no signal arrived"):
        Env(Interrupts()).step(np.array([1.0, 0.0], np.float32))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may ignore the signal
    with pytest.raises(KeyboardInterrupt):  # Python's own handler: it may have been Ctrl-C
        Env(Interrupts()).step(np.array([1.0, 0.0], np.float32))


def test_a_swallowed_stop_signal_is_raised_when_the_call_ends():
    def swallow():
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)

    def run():
        with stop_on_signals(), time_limit(None):
            swallow()

    with pytest.raises(StopRequested):
        run()

    def run_outside():
        with stop_on_signals():
            swallow()
            raise_if_stop_requested()

    with pytest.raises(StopRequested):
        run_outside()
    raise_if_stop_requested()  # the request ends with the block


def test_a_swallowed_time_out_is_raised_again(monkeypatch):
    monkeypatch.setattr("mbrl_cli.envs.time_limit.RETRY_SECONDS", 0.05)

    class Hangs(Toy):
        def step(self, action):
            while True:
                with contextlib.suppress(Exception):
                    time.sleep(1)

    env = Env(Hangs())
    env.timeout = 0.05
    with pytest.raises(EnvironmentFault, match=r"TimeoutError: did not return within env_timeout"):
        env.step(np.array([1.0, 0.0], np.float32))


# --- ends of episodes -------------------------------------------------------------------------


def test_an_episode_without_a_time_limit_is_cut_and_the_notice_names_the_key():
    env = Env(Toy())
    env.reset(0)
    ends = [env.step(np.array([1.0, 0.0], np.float32))[2:] for _ in range(1000)]
    assert ends[-2:] == [(False, False), (False, True)]
    assert "cut after 1,000 steps; to change this: env.max_episode_steps=N" in env.notices()[0]


def test_an_environment_that_truncates_itself_is_not_cut():
    toy = Toy(length=1200)
    toy.max_steps = 1200
    env = Env(toy)
    env.reset(0)
    ends = [env.step(np.array([1.0, 0.0], np.float32))[3] for _ in range(1200)]
    assert ends.index(True) == 1199
    assert env.notices() == []


def test_the_prefill_leaves_steps_to_learn(mbrl, tiny_run, tmp_path):
    words = ["train", "env=pendulum", *tiny_run, "env.max_episode_steps=200", "hydra.run.dir=run"]
    assert mbrl(*words).code == 0
    rows = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert "46,train/length,46.0" in rows  # 20 + 2/3 of 40
    assert any(",model/" in row for row in rows)


# --- evaluation environments ------------------------------------------------------------------


def test_evaluation_uses_the_training_environment_if_there_can_be_no_other(capsys):
    def fails():
        raise EnvironmentFault("env.id=Toy: the port is in use")

    training = Env(Toy(length=3))
    envs = EvaluationEnvs(fails, [training], None)
    assert envs.uses_training_envs()
    assert envs.take(4) == [training]
    assert "the port is in use" in capsys.readouterr().err
    result = evaluate(Random(training.spec), envs.take(4), seed=0, episodes=4)
    assert result.lengths.tolist() == [3, 3, 3, 3]


def test_a_limit_of_evaluation_environments_is_kept():
    training = Env(Toy(length=3))
    envs = EvaluationEnvs(lambda: Env(Toy(length=3)), [training], 2)
    assert len(envs.take(5)) == 2
    assert not envs.uses_training_envs()
    everything = EvaluationEnvs(lambda: Env(Toy(length=3)), [training], None)
    assert len(everything.take(5)) == 5


def test_a_run_with_one_instance_evaluates_between_episodes(mbrl, tiny_run, tmp_path):
    words = ["train", "env=pendulum", *tiny_run, "eval_envs=0", "hydra.run.dir=run"]
    assert mbrl(*words).code == 0
    rows = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    # due at 25 and 50; episodes of 10 steps end at 30 and 50
    evaluated = [row.split(",")[0] for row in rows if ",eval/return," in row]
    assert evaluated == ["30", "50", "60"]
