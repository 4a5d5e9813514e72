"""A full or vanished disk gives one line, and the run can be continued."""

import errno
import logging
import os
import subprocess

import pytest

from mbrl_cli.errors import disk_fault


def test_a_full_disk_is_reported_and_the_run_can_be_resumed(
    run_mistake, mbrl, tiny_run, tmp_path, monkeypatch
):
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 14:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    words = " ".join(["train", "env=cartpole", *tiny_run, "hydra.run.dir=new"])
    monkeypatch.setattr(os, "fsync", full)
    run_mistake(words, 5, "No space left on device; free disk space, then type: mbrl resume")
    monkeypatch.setattr(os, "fsync", real)
    done = mbrl("resume", "new")
    assert done.code == 0
    assert "from step 0" not in done.out  # it continues from what was saved before


def test_a_disk_that_is_full_before_the_run_is_reported(run_mistake, monkeypatch):
    def full(**options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr("mbrl_cli.config.output_folder.TemporaryDirectory", full)
    says = "No space left on device; free disk space, then type the command again"
    run_mistake("train agent=random total_steps=5", 5, says)


def test_a_disk_that_becomes_full_in_a_sweep_is_reported(mbrl, monkeypatch):
    def full(*arguments, **options):  # Hydra opens the log file of a job
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "mbrl.log")

    monkeypatch.setattr("hydra.core.utils.configure_log", full)
    words = ["train", "-m", "agent=random", "total_steps=5", "seed=0,1"]
    done = mbrl(*words, "hydra.sweep.dir=my sweep")
    assert done.code == 5
    says = "free disk space, then type: mbrl resume 'my sweep'"
    assert done.err.startswith(f"mbrl: mbrl.log: No space left on device; {says}")
    assert done.err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a disk")
@pytest.mark.parametrize("kilobytes", [64, 100])  # full before the first job, and in it
def test_a_small_disk_that_a_sweep_fills_is_reported_in_one_line(
    mbrl, tmp_path, kilobytes, monkeypatch
):
    monkeypatch.setattr(logging, "raiseExceptions", False)  # as `mbrl` does in a process of its own
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        words = ["train", "-m", "agent=random", "total_steps=200", "checkpoint_every=10",
                 "env.max_episode_steps=10", "keep_checkpoints=20", "eval_every=0", "seed=0,1",
                 "console=false"]  # fmt: skip
        done = mbrl(*words, f"hydra.sweep.dir={disk}/sweep")
        assert (done.code, done.err.count("\n")) == (5, 1), done.err
        assert done.err.startswith("mbrl: s0 failed: ")
        assert "No space left on device; free disk space" in done.err
        assert done.err.endswith(f"; to try again type: mbrl resume {disk}/sweep\n")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)  # a log file is still open


def test_errors_of_other_files_are_not_the_disk_s_fault(tmp_path):
    missing = FileNotFoundError(errno.ENOENT, "No such file", "/data/table.npz")
    assert disk_fault(missing, tmp_path) is None
    assert disk_fault(BrokenPipeError(errno.EPIPE, "Broken pipe"), tmp_path) is None
    deleted = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "metrics.csv"))
    assert "make the folder writable again" in str(disk_fault(deleted, tmp_path))
