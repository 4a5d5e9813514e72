"""Each tutorial runs as it stands: its blocks in order, in one empty folder."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

TUTORIALS = Path(__file__).parent.parent / "docs" / "tutorials"
SLOW = {"is_my_model_good"}  # over 20 seconds of processor time
PAGES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
    for path in sorted(TUTORIALS.glob("*.md"))
]
BLOCK = re.compile(r"(?:<!-- exit code (\d+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    """A fenced code block. `code` is the exit code that its last command has."""

    language: str
    text: str
    code: int


def read_blocks(path: Path) -> list[Block]:
    found = BLOCK.findall(path.read_text(encoding="utf-8"))
    return [Block(language, text, int(code or 0)) for code, language, text in found]


def read_commands(text: str) -> list[list[str]]:
    """Return the words of each command of a block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def template(text: str) -> str:
    """Return a text in which every number is N and spaces are single."""
    return " ".join(re.sub(r"-?\d[\d,.:]*(e-\d+)?", "N", text).split())


def run_and_kill(words: list[str], sweep: Path) -> int:
    """Kill `mbrl WORDS` where the page expects it, which no clock tells on every machine."""
    process = subprocess.Popen([sys.executable, "-m", "mbrl_cli", *words])
    for _ in range(3000):
        finished = len(list(sweep.glob("*/checkpoint.safetensors")))
        started = {path.parent for path in sweep.glob("*/checkpoints/*.safetensors")}
        if finished and len(started) > 1:
            break
        time.sleep(0.1)
    process.kill()
    return 128 - process.wait()


@pytest.mark.parametrize("path", PAGES)
def test_the_blocks_of_a_page_run_in_order(path, mbrl, tmp_path, monkeypatch, capfd):
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python FILE` does
    printed = ""
    for block in read_blocks(path):
        if block.language in ("python", "yaml"):
            name = re.match(r"# (\S+\.(?:py|yaml)): ", block.text)
            assert name is not None, block.text
            file = tmp_path / name[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "bash":
            printed, code = "", 0
            for words in read_commands(block.text):
                assert code == 0, printed
                if words[0] == "mbrl":
                    done = mbrl(*words[1:])
                    printed, code = printed + done.out + done.err, done.code
                elif words[0] == "python":
                    capfd.readouterr()
                    runpy.run_path(words[1], run_name="__main__")
                    printed += capfd.readouterr().out
                elif words[:3] == ["timeout", "-s", "KILL"] and words[4] == "mbrl":
                    code = run_and_kill(words[5:], tmp_path / "outputs" / "sweep")
                elif words[0] == "tensorboard":
                    (logs,) = words[2:]
                    assert words[1] == "--logdir"
                    assert list(Path(logs).rglob("events.out.tfevents*"))
                else:
                    pytest.fail(f"no rule for the command {words[0]}")
            assert code == block.code, printed
        elif block.language == "text":
            lines = [template(line) for line in printed.splitlines()]
            for shown in map(template, block.text.splitlines()):
                assert any(shown in line for line in lines), f"{shown}\n{printed}"
        else:
            pytest.fail(f"no rule for a block of {block.language}")


@pytest.mark.parametrize("path", PAGES)
def test_every_tag_of_the_text_is_documented(path):
    tags = (TUTORIALS.parent / "tags.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:eval|train|model|planner|agent)/\w+)`", path.read_text("utf-8"))
    for tag in named:
        assert f"`{re.sub(r'_k[0-9]+$', '_k<k>', tag)}`" in tags, tag


COMMANDS = [
    pytest.param(command, id=f"{path.stem}: {command}")
    for path in sorted(TUTORIALS.glob("*.md"))
    for command in re.findall(
        r"^mbrl train .*|(?<=`)mbrl train [^`]*", path.read_text("utf-8"), re.M
    )
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_keys_of_a_command_exist(compose_run, tmp_path, monkeypatch, command):
    """Commands in the text and on slow pages are composed, but not run."""
    words = shlex.split(command)[2:]
    if "--help" in words or "--config-dir" in words:
        pytest.skip("no composition, or it needs the page's own files")
    overrides = [re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in words if word != "-m"]
    compose_run(*(f"++{word}" if word.startswith("hydra.") else word for word in overrides))
