"""Run folders for tests: a short command, and changes that an attacker could make."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mbrl_cli.checkpoint import encode_checkpoint, load_checkpoint

ROOT = Path(__file__).parent.parent
RANDOM_RUN = [
    "env=pendulum", "agent=random", "total_steps=60", "prefill_steps=20", "eval_every=0",
    "final_eval_episodes=1", "checkpoint_every=10", "env.max_episode_steps=10", "device=cpu",
    "console=false", "keep_checkpoints=20", "seed=3",
]  # fmt: skip


def refused(done, text):
    """Assert that a command ended with one line that contains `text`."""
    assert done.code == 2, done
    assert text in done.err
    assert done.err.count("\n") == 1
    assert done.err.isprintable() or done.err[:-1].isprintable()


def newest(run):
    return max((run / "checkpoints").glob("*.safetensors"))


def forge(path, change):
    """Rewrite a checkpoint with a changed state and a correct checksum."""
    state = load_checkpoint(path)
    change(state)
    path.write_bytes(encode_checkpoint(path.stem, state))


@pytest.fixture(scope="session")
def finished_random_run(tmp_path_factory):
    """Return a finished run of the random agent; it has checkpoints at 10, 20, ... steps."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    subprocess.run(
        [sys.executable, "-m", "mbrl_cli", "train", *RANDOM_RUN, f"hydra.run.dir={folder}"],
        check=True, stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder.parent / "state")},
    )  # fmt: skip
    return folder


@pytest.fixture
def killed_run(finished_random_run, tmp_path, monkeypatch):
    """Return a copy of it that was killed before its end, with three checkpoints less."""
    monkeypatch.setenv("XDG_STATE_HOME", str(finished_random_run.parent / "state"))
    shutil.copytree(finished_random_run, tmp_path / "run")
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    for path in sorted((tmp_path / "run" / "checkpoints").iterdir())[-3:]:
        path.unlink()
    return tmp_path / "run"
