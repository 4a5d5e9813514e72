"""Every kind of bad input gives one line of text and the documented exit code, and deletes nothing.

`docs/mistakes.md` lists the messages; `MBRL_WRITE=1 pytest tests/test_mistakes.py` writes it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY_RUN
from faulty_parts import EXECUTED
from folder_mistakes import FOLDERS, change_config, no_set_up
from mistake_cases import COMMAND_LINE, FAULTS, RUN, YAML

from mbrl_cli.checkpoint import load_checkpoint, save_checkpoint

TABLE = Path(__file__).parent.parent / "docs" / "mistakes.md"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, request):
    """Return a folder with a finished run in it."""
    root = tmp_path_factory.mktemp("finished")
    subprocess.run(
        [sys.executable, "-m", "mbrl_cli", "train", "env=cartpole", *TINY_RUN, "hydra.run.dir=run"],
        cwd=root, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return root / "run"


CASES = {
    "Command line": [(words, code, says, "", no_set_up) for words, code, says in COMMAND_LINE],
    "YAML": YAML,
    "Run folders": FOLDERS,
    "Environments": [(words, code, says, "", no_set_up) for words, code, says in FAULTS],
}
ALL = [(kind, *case) for kind, cases in CASES.items() for case in cases]
MESSAGES = {}  # (command, what is wrong) -> message


@pytest.mark.parametrize(
    ("kind", "words", "code", "says", "wrong", "set_up"),
    ALL,
    ids=[f"{words}{' with ' * bool(wrong)}{wrong}" for _, words, _, _, wrong, _ in ALL],
)
def test_a_mistake_gives_one_line_and_deletes_nothing(
    run_mistake, finished, tmp_path, kind, words, code, says, wrong, set_up
):
    if kind == "Run folders":
        shutil.copytree(finished, tmp_path / "run")
    set_up(tmp_path)
    MESSAGES[words, wrong] = run_mistake(words, code, says)


def test_the_table_lists_every_mistake():
    lines = [
        "# Error messages",
        "",
        "Every message is one line on the error stream, with the prefix `mbrl: `. Exit code 2: the",
        "command cannot work as it was given. Exit codes from 3 on: if the run had started, "
        "its state",
        "was saved, and the message names the command that continues it.",
        "",
        "`MBRL_WRITE=1 pytest tests/test_mistakes.py` runs each command and writes this file.",
    ]
    for kind, cases in CASES.items():
        lines += ["", f"## {kind}", "", "| command | exit code | message |", "|---|---|---|"]
        for words, code, _, wrong, _ in cases:
            shown = words.replace(RUN, "train env=gym env.id=Faulty-v0 ... env.kwargs.fault=")
            command = f"`{shown}`" + (f" with {wrong}" if wrong else "")
            message = MESSAGES.get((words, wrong), "").replace("|", "\\|")
            message = re.sub(r"and [\d.]+ GB are", "and 24.0 GB are", message)  # of this machine
            message = re.sub(r"0x[0-9a-f]+", "0x7f914314ac90", message)
            lines.append(f"| {command} | {code} | {message} |")
    if "MBRL_WRITE" in os.environ:
        TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = TABLE.read_text(encoding="utf-8").splitlines()

    def without_message(line):  # some messages depend on the versions of Hydra and gymnasium
        return line.rsplit(" | ", 1)[0]

    assert len(ALL) >= 60
    assert [without_message(line) for line in written] == [without_message(line) for line in lines]


def test_trust_lets_a_run_folder_name_other_code(run_mistake, mbrl, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    change_config(lambda config: config.env.update(termination="faulty_parts:hostile_termination"))(
        tmp_path
    )
    assert mbrl("eval", "run", "eval_episodes=1").code == 2
    assert not EXECUTED
    for path in (tmp_path / "run").rglob("*checkpoint*/*.safetensors"):
        path.unlink()
    final = tmp_path / "run" / "checkpoint.safetensors"
    save_checkpoint(final.parent, final.stem, load_checkpoint(final) | {"configs": []})
    assert mbrl("eval", "run", "eval_episodes=1", "--trust").code == 0
    assert EXECUTED


def test_a_run_can_be_resumed_after_a_fault_of_the_environment(run_mistake, mbrl, tmp_path):
    run_mistake(RUN + "raise", 3, "the trace is in fault.txt; to resume type: mbrl resume")
    assert "fell over" in (tmp_path / "new" / "fault.txt").read_text()
    # The environment counts its steps from the start of the process, so it does not fail again.
    assert mbrl("resume", "new").code == 0


def test_close_that_raises_changes_neither_result_nor_exit_code(run_mistake, mbrl, tmp_path):
    assert run_mistake is not None  # registers the environment
    done = mbrl(*shlex.split(RUN + "close"))
    assert done.code == 0
    assert "mbrl: env.id=Faulty-v0: close failed (RuntimeError: close failed)" in done.err
    assert (tmp_path / "new" / "checkpoint.safetensors").exists()
