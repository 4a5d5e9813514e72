"""Run folders from other people: nothing outside is written, executed, revealed or overloaded."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mbrl_cli.checkpoint import encode_checkpoint, load_checkpoint, save_checkpoint
from mbrl_cli.errors import UserError, printable
from mbrl_cli.event_records import records_are_intact
from mbrl_cli.lock import locked
from mbrl_cli.run_files import open_regular, read_regular, remove_unfinished, write_atomically

ROOT = Path(__file__).parent.parent
RANDOM_RUN = [
    "env=pendulum", "agent=random", "total_steps=60", "prefill_steps=20", "eval_every=0",
    "final_eval_episodes=1", "checkpoint_every=10", "env.max_episode_steps=10", "device=cpu",
    "console=false", "keep_checkpoints=20", "seed=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a finished run of the random agent; it has checkpoints at 10, 20, ... steps."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    subprocess.run(
        [sys.executable, "-m", "mbrl_cli", "train", *RANDOM_RUN, f"hydra.run.dir={folder}"],
        check=True, stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder.parent / "state")},
    )  # fmt: skip
    return folder


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """Return a copy of it that was killed before its end, with three checkpoints less."""
    monkeypatch.setenv("XDG_STATE_HOME", str(finished.parent / "state"))
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    for path in sorted((tmp_path / "run" / "checkpoints").iterdir())[-3:]:
        path.unlink()
    return tmp_path / "run"


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


# Writing outside of the folder


@pytest.mark.parametrize(
    "name",
    [".lock", "metrics.csv", "event file", "fault.txt", "config.yaml", "versions.json",
     "checkpoint.safetensors", "newest checkpoint", "checkpoints", "replay", "origin.json"],
)  # fmt: skip
def test_a_link_in_a_run_folder_is_refused_and_its_target_stays(mbrl, run, tmp_path, name):
    path = run / name
    if name == "event file":
        (path,) = run.glob("events*")
    elif name == "newest checkpoint":
        path = newest(run)
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
def test_a_fifo_in_a_run_folder_does_not_block(mbrl, run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert mbrl("resume", "run").code == 2


def test_a_temporary_file_of_a_known_name_is_not_followed(mbrl, run, tmp_path):
    (tmp_path / "bashrc").write_text("mine")
    for name in (".config.yaml.tmp", ".versions.json.tmp", ".checkpoint.safetensors.tmp"):
        (run / name).symlink_to(tmp_path / "bashrc")
    assert mbrl("resume", "run", "total_steps=70").code == 0
    assert (tmp_path / "bashrc").read_text() == "mine"
    assert not list(run.glob(".*.tmp"))  # removed, as those of a killed process are


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


# The config and the checkpoints


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seed: 3\n", "seed: 4\n", "seed=3, not 4"),
        ("seed: 3\n", "", "seed=3, not (missing)"),
        ("max_episode_steps: 10\n", "max_episode_steps: 11\n", "env.max_episode_steps=10, not 11"),
        ("total_steps: 60\n", "total_steps: 70\n", "total_steps=60, not 70"),
    ],
)
def test_a_config_that_is_not_that_of_the_checkpoint_is_refused(mbrl, run, old, new, text):
    config = run / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    for command in ("resume", "eval"):
        refused(mbrl(command, "run"), text)
    config.write_text(f"# a comment\n{config.read_text().replace(new, old) if new else ''}")
    if new:
        assert mbrl("eval", "run").code == 0  # comments do not count


def test_a_run_killed_while_its_settings_change_can_be_resumed_with_either(
    mbrl, run, monkeypatch, tmp_path
):
    """The kill happens before or after config.yaml is replaced."""
    real = write_atomically

    def crash(path, content):
        if path.name == "config.yaml" and crash.before:
            raise KeyboardInterrupt
        real(path, content)
        if path.name == "config.yaml":
            raise KeyboardInterrupt

    for crash.before in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr("mbrl_cli.config.train.write_atomically", crash)
            assert mbrl("resume", "run", "total_steps=70").code == 130
        total = "60" if crash.before else "70"
        assert f"total_steps: {total}\n" in (run / "config.yaml").read_text()
        shutil.copytree(run, tmp_path / f"copy{total}")
        assert mbrl("resume", f"copy{total}").code == 0


def test_the_model_of_another_run_is_read_once(mbrl, tiny_run, tmp_path, monkeypatch):
    assert mbrl("train", "env=pendulum", *tiny_run, "hydra.run.dir=source").code == 0
    new = ["train", "env=pendulum", *tiny_run, "prefill_steps=0", "model_from=source",
           "model_from_replay=true"]  # fmt: skip
    assert mbrl(*new, "hydra.run.dir=whole").code == 0
    assert mbrl(*new, "hydra.run.dir=cut", "keep_checkpoints=20").code == 0
    config = OmegaConf.load(tmp_path / "cut" / "config.yaml")
    assert config.model_from == str(tmp_path / "source")
    cut = tmp_path / "cut"
    (cut / "checkpoint.safetensors").unlink()
    for path in (cut / "checkpoints").glob("*[1-9]*.safetensors"):
        path.unlink()  # all but that of step 0: as if the run had been killed in its first episode
    shutil.rmtree(tmp_path / "source")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = mbrl("resume", "../cut")
    assert done.code == 0, done
    assert "from step 0" in done.out
    rows = [
        [row for row in (folder / "metrics.csv").read_text().splitlines() if ",time/" not in row]
        for folder in (tmp_path / "whole", cut)
    ]
    assert rows[0] == rows[1]


# Damaged logs


def test_a_flipped_byte_in_any_record_of_the_event_file_is_found(run):
    (path,) = run.glob("events*")
    content = path.read_bytes()
    assert records_are_intact(content, len(content))
    assert not records_are_intact(content, len(content) - 1)
    for i in range(len(content)):
        flipped = content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]
        assert not records_are_intact(flipped, len(content))


def test_a_damaged_event_file_is_reported_and_rebuilt(mbrl, run):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = run.glob("events*")
    with path.open("r+b") as file:
        file.seek(20)
        file.write(b"X")
    done = mbrl("resume", "run")
    assert done.code == 0
    assert "the event file is damaged or missing; it is rebuilt" in done.out
    values = [e for e in EventFileLoader(str(path)).Load() if e.summary.value]
    rows = (run / "metrics.csv").read_text().splitlines()[1:]
    assert len(values) >= len(rows)


@pytest.mark.parametrize("change", ["row", "digit"])
def test_a_changed_metrics_csv_is_refused(mbrl, run, change):
    path = run / "metrics.csv"
    lines = path.read_text().splitlines(keepends=True)
    digit = lines[1][:-2] + ("1" if lines[1][-2] != "1" else "2") + "\n"
    lines[1] = "x" + lines[1] if change == "row" else digit
    path.write_text("".join(lines))
    text = "row 2 is damaged" if change == "row" else "a number changed after it was written"
    refused(mbrl("resume", "run"), f"metrics.csv: {text}")


def test_eval_names_a_damaged_checkpoint(mbrl, run):
    newest(run).write_bytes(newest(run).read_bytes()[:-1])
    done = mbrl("eval", "run")
    assert done.code == 0
    assert f"{newest(run).name} is damaged" in done.out
    assert "the checkpoint of step 10 is used" in done.out


# Foreign configs


@pytest.mark.parametrize("trust", [[], ["--trust"]])
@pytest.mark.parametrize(
    "value", ["${oc.env:SECRET}", "${nonsense:1}", "${nowhere}", "${note}", "x${env.${oc.env:A}}"]
)
def test_nothing_of_this_machine_is_put_into_a_foreign_config(mbrl, run, monkeypatch, trust, value):
    monkeypatch.setenv("SECRET", "verysecret")
    config = run / "config.yaml"
    config.write_text(config.read_text() + f'note: "{value}"\n')
    done = mbrl("eval", "run", *trust)
    refused(done, "config.yaml: ")
    assert "verysecret" not in done.err


def test_model_from_resolves_nothing(mbrl, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "verysecret")
    known = ["env.reward=known", "env.termination=learned"]
    assert mbrl("train", "env=pendulum", *tiny_run, *known, "hydra.run.dir=source").code == 0
    for path in [*(tmp_path / "source" / "checkpoints").iterdir(),
                 tmp_path / "source" / "checkpoint.safetensors"]:  # fmt: skip
        forge(path, lambda state: state.pop("configs"))
    config = tmp_path / "source" / "config.yaml"
    config.write_text(config.read_text().replace("reward: known", "reward: ${oc.env:SECRET}"))
    done = mbrl("train", "env=pendulum", *tiny_run, "env.reward=learned", "prefill_steps=0",
                "model_from=source", "hydra.run.dir=new")  # fmt: skip
    assert done.code == 2
    assert "verysecret" not in done.err


def test_keys_with_dots_do_not_hide_what_the_config_names(mbrl, run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # another user's run
    config = OmegaConf.load(run / "config.yaml")
    config.env.id = "evil:X-v0"
    text = OmegaConf.to_yaml(config) + "env.id: Pendulum-v1\nplanner._target_: null\n"
    (run / "config.yaml").write_text(text)
    refused(mbrl("eval", "run"), "env.id=evil:X-v0 imports other code")


def bomb():
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [bomb(), "x: " + "[" * 100_000, "x: !!python/object/apply:os.system [id]", "x: !!int a",
     "x: !!binary ===", "x: " + "9" * 5000, "x: 0x" + "f" * 5000, "x: [" + "1," * 90_000 + "]",
     "? {a: 1}\n: 2", "\ttab: 1", "x: &a [*a]", "x: 1\nx: 2", "%YAML 9.9", "\x00", "---\n---\n"],
    ids=range(15),
)  # fmt: skip
def test_a_config_cannot_use_much_time_or_memory(mbrl, run, text):
    config = run / "config.yaml"
    config.write_text(f"{config.read_text()}{text}\n")
    start = time.process_time()
    refused(mbrl("eval", "run"), "config.yaml")
    assert time.process_time() - start < 5


def test_escape_sequences_do_not_reach_the_terminal(mbrl, run):
    title = "\x1b]0;gone\x07\u202eabc"
    assert printable(title) == "\\x1b]0;gone\\x07\\u202eabc"
    config = OmegaConf.load(run / "config.yaml")
    config.env.id = title
    OmegaConf.save(config, run / "config.yaml")
    for path in (run / "checkpoints").iterdir():
        forge(path, lambda state: state.pop("configs"))
    done = mbrl("eval", "run")
    refused(done, "\\x1b]0;gone")
    assert "\x1b" not in done.out


# Forged checkpoints with correct checksums


FORGED = {
    "env_step": [-1, True, 10**30, "1", 1.5],
    "rows": [-1, 10**11, None],
    "episodes": [0, -1, 10**30],
    "segments": [[[0, 10]] * 10**5, [[0, 10], [0, 20]], [[0]], [0], ["x"], [[0, -5]],
                 [[0, 10**11]]],
    "seconds": [{"env": "x"}, {"\x1b[2J": 1.0}, {"env": None}],
    "log": [{}, {"csv": -1, "events": 0}, {"csv": "x", "events": 0}, {"csv": 10**30, "events": 0}],
    "generators": [{}, {"prefill": torch.zeros(3)}, {"prefill": 1, "policy": 2}],
    "configs": [1, [1], ["x"], ["[" * 10**5]],
    "agent": [[], None, {"weights": "x"}],
}  # fmt: skip


@pytest.mark.parametrize("key", FORGED)
def test_a_forged_value_gives_one_line(mbrl, run, key):
    for path in sorted((run / "checkpoints").iterdir())[:-1]:
        path.unlink()
    path, content = newest(run), newest(run).read_bytes()
    for value in FORGED[key]:
        path.write_bytes(content)
        forge(path, lambda state, value=value: state.update({key: value}))
        done = mbrl("resume", "run")
        assert done.code == 2, (value, done)
        assert done.err.count("\n") == 1
        assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"{}", b'{"__metadata__": {"mbrl": "[]"}}', b'{"__metadata__": 5}', b"\xff",
     json.dumps({"__metadata__": {"mbrl": "[" * 100_000}}).encode()],
    ids=range(6),
)  # fmt: skip
@pytest.mark.parametrize("length", [None, 2**63, 2**24])
def test_a_header_that_is_no_checkpoint_gives_one_line(mbrl, run, content, length):
    header = (len(content) if length is None else length).to_bytes(8, "little")
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(header + content)
    for command in ("resume", "eval"):
        refused(mbrl(command, "run"), "is damaged, or not a checkpoint of mbrl")


def test_a_sparse_file_is_not_read(mbrl, run):
    for path in (run / "checkpoints").iterdir():
        os.truncate(path, 2**33)
    start = time.process_time()
    assert mbrl("resume", "run").code == 2
    assert time.process_time() - start < 5


# Modules in the current folder


def test_modules_in_the_current_folder_do_not_replace_installed_ones(tmp_path):
    (tmp_path / "numpy.py").write_text("open('RAN', 'w')\n")
    (tmp_path / "hydra_plugins" / "mine").mkdir(parents=True)
    (tmp_path / "hydra_plugins" / "mine" / "__init__.py").write_text("open('RAN', 'w')\n")
    (tmp_path / "hydra_plugins" / "other.py").write_text("open('RAN', 'w')\n")
    done = subprocess.run(
        [sys.executable, "-m", "mbrl_cli", "train", *RANDOM_RUN, "hydra.run.dir=run"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "RAN").exists()


# Own runs


MODULE = """
import torch
def never(obs, action, next_obs):
    return torch.zeros(obs.shape[:-1], dtype=torch.bool)
"""


def test_own_runs_need_no_trust_and_others_do(mbrl, tiny_run, tmp_path, monkeypatch):
    (tmp_path / "own_code.py").write_text(MODULE)
    words = [*tiny_run, "env=pendulum", "env.termination=own_code:never", "check_known=false"]
    assert mbrl("train", *words, "hydra.run.dir=run").code == 0
    shutil.copytree(tmp_path / "run", tmp_path / "other" / "moved")
    # The module is searched for where the run was started, not in the current folder.
    monkeypatch.chdir(tmp_path / "other")
    (tmp_path / "other" / "own_code.py").write_text("open('RAN', 'w')\n")
    sys.modules.pop("own_code")
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]
    assert mbrl("eval", "moved").code == 0
    assert mbrl("resume", "moved", "total_steps=70").code == 0
    assert mbrl("resume", "moved", "total_steps=80").code == 0  # the changed config is own, too
    assert not (tmp_path / "other" / "RAN").exists()
    key = next((Path(os.environ["XDG_STATE_HOME"]) / "mbrl").glob("key"))
    assert key.stat().st_mode & 0o077 == 0
    for path in (tmp_path / "run").rglob("*"):  # the secret is in no run folder
        if path.is_file():
            assert key.read_bytes() not in path.read_bytes()
    origin = json.loads(Path("moved/origin.json").read_text())
    Path("moved/origin.json").write_text(json.dumps(origin | {"folder": str(tmp_path / "other")}))
    refused(mbrl("eval", "moved"), "env.termination=own_code:never imports other code")
    Path("moved/origin.json").write_text(json.dumps(origin))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state of another user"))
    refused(mbrl("eval", "moved"), "env.termination=own_code:never imports other code")


def test_a_key_that_others_can_read_is_not_used(mbrl, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "own_code.py").write_text(MODULE)
    words = [*tiny_run, "env=pendulum", "env.termination=own_code:never", "check_known=false"]
    assert mbrl("train", *words, "hydra.run.dir=run").code == 0
    (tmp_path / "state" / "mbrl" / "key").chmod(0o644)
    refused(mbrl("eval", "run"), "imports other code")


def test_without_a_state_folder_a_run_starts_all_the_same(mbrl, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert mbrl("train", *RANDOM_RUN, "hydra.run.dir=run").code == 0
    assert not (tmp_path / "run" / "origin.json").exists()


# The lock


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


def test_the_saved_state_of_another_shape_is_named(run):
    forge(newest(run), lambda state: state.update(agent={"x": 1}))
    assert load_checkpoint(newest(run))["agent"] == {"x": 1}
    with pytest.raises(UserError, match="plain values"):
        save_checkpoint(run, "big", {"x": "y" * 2**24})
