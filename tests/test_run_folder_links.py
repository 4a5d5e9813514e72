"""Links and special files in run folders, and the lock: nothing outside is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import RANDOM_RUN, ROOT, newest, refused

from mbrl_cli.errors import UserError
from mbrl_cli.lock import locked
from mbrl_cli.run_files import open_regular, read_regular, remove_unfinished, write_atomically


@pytest.mark.parametrize(
    "name",
    [".lock", "metrics.csv", "event file", "fault.txt", "config.yaml", "versions.json",
     "checkpoint.safetensors", "newest checkpoint", "checkpoints", "replay", "origin.json",
     "choices.json"],
)  # fmt: skip
def test_a_link_in_a_run_folder_is_refused_and_its_target_stays(mbrl, killed_run, tmp_path, name):
    path = killed_run / name
    if name == "event file":
        (path,) = killed_run.glob("events*")
    elif name == "newest checkpoint":
        path = newest(killed_run)
    target = tmp_path / "outside"
    if path.exists():
        path.rename(target)
    else:
        target.write_text("mine")
    before = target.read_bytes() if target.is_file() else sorted(target.iterdir())
    path.symlink_to(target)
    refused(mbrl("resume", "run"), f"{path.name}: is a symbolic link")
    assert before == (target.read_bytes() if target.is_file() else sorted(target.iterdir()))


@pytest.mark.parametrize("name", [".lock", "metrics.csv", "config.yaml", "origin.json"])
def test_a_fifo_in_a_run_folder_does_not_block(mbrl, killed_run, name):
    (killed_run / name).unlink(missing_ok=True)
    os.mkfifo(killed_run / name)
    assert mbrl("resume", "run").code == 2


def test_a_temporary_file_of_a_known_name_is_not_followed(mbrl, killed_run, tmp_path):
    (tmp_path / "bashrc").write_text("mine")
    for name in (".config.yaml.tmp", ".versions.json.tmp", ".checkpoint.safetensors.tmp"):
        (killed_run / name).symlink_to(tmp_path / "bashrc")
    assert mbrl("resume", "run", "total_steps=70").code == 0
    assert (tmp_path / "bashrc").read_text() == "mine"
    assert not list(killed_run.glob(".*.tmp"))  # removed, as those of a killed process are


def test_a_new_run_does_not_write_through_links_either(mbrl, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "new" / "versions.json").symlink_to(tmp_path / "victim")
    refused(mbrl("train", *RANDOM_RUN, "hydra.run.dir=new"), "versions.json: is a symbolic link")
    assert (tmp_path / "victim").read_text() == "mine"


def test_files_are_written_by_replacing_and_only_regular_files_are_opened(tmp_path):
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("mine")
    link.symlink_to(victim)
    write_atomically(link, b"new")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("mine", "new", False)
    os.link(victim, tmp_path / "second_name")
    with pytest.raises(UserError, match="2 hard links"):
        open_regular(victim, os.O_RDWR)
    assert read_regular(victim, 10) == b"mine"  # reading it changes nothing
    with pytest.raises(UserError, match="has 4 bytes; at most 3"):
        read_regular(victim, 3)
    with pytest.raises(UserError, match="is not a regular file"):
        open_regular(Path("/dev/null"), os.O_RDWR)
    (tmp_path / ".a.tmp").symlink_to(victim)
    remove_unfinished(tmp_path)
    assert not (tmp_path / ".a.tmp").is_symlink()
    assert victim.exists()


# --- the lock ---------------------------------------------------------------------------------


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    script = (
        "import multiprocessing as mp, os, sys, time; from pathlib import Path\n"
        "from mbrl_cli.lock import locked\n"
        "def work(): print(os.getpid(), flush=True); time.sleep(60)\n"
        "with locked(Path(sys.argv[1])):\n"
        "    mp.get_context('fork').Process(target=work).start(); time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    child = int(holder.stdout.readline())
    try:
        with (
            pytest.raises(UserError, match=f"another process is running it, process {holder.pid}"),
            locked(tmp_path),
        ):
            pass
        holder.kill()
        holder.wait()
        with locked(tmp_path):
            assert (tmp_path / ".lock").read_text() == str(os.getpid())
    finally:
        os.kill(child, 9)
        holder.stdout.close()
