"""Run folders from other people: nothing is executed, revealed or overloaded."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from run_folders import RANDOM_RUN, ROOT, forge, refused

from mbrl_cli.errors import printable

# --- configs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trust", [[], ["--trust"]])
@pytest.mark.parametrize(
    "value", ["${oc.env:SECRET}", "${nonsense:1}", "${nowhere}", "${note}", "x${env.${oc.env:A}}"]
)
def test_nothing_of_this_machine_is_put_into_a_foreign_config(
    mbrl, killed_run, monkeypatch, trust, value
):
    monkeypatch.setenv("SECRET", "verysecret")
    config = killed_run / "config.yaml"
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


def test_keys_with_dots_do_not_hide_what_the_config_names(mbrl, killed_run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # another user's run
    config = OmegaConf.load(killed_run / "config.yaml")
    config.env.id = "evil:X-v0"
    text = OmegaConf.to_yaml(config) + "env.id: Pendulum-v1\nplanner._target_: null\n"
    (killed_run / "config.yaml").write_text(text)
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
def test_a_config_cannot_use_much_time_or_memory(mbrl, killed_run, text):
    config = killed_run / "config.yaml"
    config.write_text(f"{config.read_text()}{text}\n")
    start = time.process_time()
    refused(mbrl("eval", "run"), "config.yaml")
    assert time.process_time() - start < 5


def test_escape_sequences_do_not_reach_the_terminal(mbrl, killed_run):
    title = "\x1b]0;gone\x07\u202eabc"
    assert printable(title) == "\\x1b]0;gone\\x07\\u202eabc"
    config = OmegaConf.load(killed_run / "config.yaml")
    config.env.id = title
    OmegaConf.save(config, killed_run / "config.yaml")
    for path in (killed_run / "checkpoints").iterdir():
        forge(path, lambda state: state.pop("configs"))
    done = mbrl("eval", "run")
    refused(done, "\\x1b]0;gone")
    assert "\x1b" not in done.out


# --- modules in the current folder ------------------------------------------------------------


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


# --- own runs ---------------------------------------------------------------------------------


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
