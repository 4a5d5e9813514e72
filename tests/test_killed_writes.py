"""A process that is killed before or after any of its files is complete can be resumed."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from run_outcome import assert_same_outcome
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.checkpoint_store import CheckpointStore

# The environment is the user's own code, so a resumed run needs --trust if it is not recognised.
MODULE = """
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv
gymnasium.register("Own-v0", PendulumEnv, max_episode_steps=10)
"""
RUN = [
    "env=gym", "env.id=own_env:Own-v0", "agent=random", "total_steps=40", "prefill_steps=0",
    "eval_every=0", "final_eval_episodes=1", "checkpoint_every=20", "console=false", "device=cpu",
    "hydra.run.dir=run",
]  # fmt: skip


@pytest.fixture
def killed(mbrl, tmp_path):
    """Return a function that runs a command in a child, killed before its n-th finished file.

    It returns whether there were so many files. The descriptor of the unfinished file is closed
    with the process; the file stays.
    """
    (tmp_path / "own_env.py").write_text(MODULE)

    def run(number, *words):
        child = os.fork()
        if child == 0:
            calls, real = [], Path.replace

            def replace(self, target):
                calls.append(1)
                if len(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(self, target)

            Path.replace = replace
            try:
                code = mbrl(*words).code
            except BaseException:
                code = 99
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL)
        return code != 0

    return run


def test_train_killed_before_each_file(mbrl, killed, tmp_path):
    assert mbrl("train", *RUN).code == 0
    (tmp_path / "run").rename(tmp_path / "whole")
    number = 1
    while killed(number, "train", *RUN):
        # Before there is a config, nothing can be resumed, and the same command starts the run.
        words = (
            ["resume", "run"] if (tmp_path / "run" / "config.yaml").exists() else ["train", *RUN]
        )
        done = mbrl(*words)
        assert done.code == 0, (number, done.err)
        assert_same_outcome(tmp_path / "whole", tmp_path / "run")
        assert list((tmp_path / "run").rglob("*.tmp")) == []
        shutil.rmtree(tmp_path / "run")
        number += 1
    assert number > 6  # versions, origin, config, two segments or checkpoints, the last file


def test_resume_with_a_change_killed_before_each_file(mbrl, killed, tmp_path):
    extended = ["resume", "run", "total_steps=60"]
    assert mbrl("train", *RUN, "total_steps=60").code == 0
    (tmp_path / "run").rename(tmp_path / "whole")
    assert mbrl("train", *RUN).code == 0
    shutil.copytree(tmp_path / "run", tmp_path / "finished")
    number = 1
    while killed(number, *extended):
        done = mbrl(*extended)
        assert done.code == 0, (number, done.err)
        assert_same_outcome(tmp_path / "whole", tmp_path / "run")
        assert list((tmp_path / "run").rglob("*.tmp")) == []
        shutil.rmtree(tmp_path / "run")
        shutil.copytree(tmp_path / "finished", tmp_path / "run")
        number += 1
    assert number > 6


def test_a_run_killed_after_its_last_file_has_a_complete_log(mbrl, tmp_path):
    """The final checkpoint says that the run has finished, so nothing is written again."""
    (tmp_path / "own_env.py").write_text(MODULE)
    child = os.fork()
    if child == 0:
        real = CheckpointStore.finish

        def finish(*arguments):
            real(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        CheckpointStore.finish = finish
        # The state before the last episode is saved already, so only the final file is written.
        mbrl("train", *RUN, "checkpoint_every=10")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert "finished its 40 steps already" in mbrl("resume", "run").out
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    logged = [row.split(",") for row in (tmp_path / "run" / "metrics.csv").read_text().split()[1:]]
    assert "eval/return" in {tag for _, tag, _ in logged}
    for tag in {tag for _, tag, _ in logged}:
        steps = [int(step) for step, name, _ in logged if name == tag]
        assert [point.step for point in events.Scalars(tag)] == steps, tag
