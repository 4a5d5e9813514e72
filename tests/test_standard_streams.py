"""A closed pipe, a full log disk or an ASCII terminal changes no run; returns as text."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mbrl_cli.return_text import format_mean_and_std, format_return

RUN = ["agent=random", "total_steps=30", "final_eval_episodes=1", "hydra.run.dir=run"]
MBRL = [sys.executable, "-m", "mbrl_cli"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command in which `$MBRL` is the program; its exit code is that of `mbrl`."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=cwd, text=True, capture_output=True, timeout=120, check=False,
        env=ENVIRONMENT | {"MBRL": " ".join(MBRL)} | environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    "redirection",
    ["| head -1", ">&-", ">&- 2>&- <&-", "> /dev/full", "> /dev/full 2> /dev/full"],
)
def test_output_that_cannot_be_written_does_not_change_a_run(
    redirection: str, tmp_path: Path
) -> None:
    done = shell(f"$MBRL train {' '.join(RUN)} {redirection}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert any(row.startswith("30,eval/length,") for row in rows)
    lost = "mbrl: standard output is lost from here on (No space left on device)\n"
    assert done.stderr == (lost if redirection == "> /dev/full" else "")


@pytest.mark.parametrize("command", ["list", "--help", "train --help"])
def test_a_reader_that_closes_the_pipe_causes_no_message(command: str, tmp_path: Path) -> None:
    done = shell(f"$MBRL {command} | head -1", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_ascii_terminal_shows_plus_minus_in_ascii(tmp_path: Path) -> None:
    command = f"$MBRL train {' '.join(RUN)} && $MBRL eval run"
    done = shell(command, tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert re.search(r"mean return \S+ \+- 0.0, min", done.stdout)


def default_signals() -> None:
    """Undo what the test's own parent ignores: nohup, for example, ignores SIGHUP."""
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM"])
def test_a_signal_during_the_imports_ends_the_process_without_a_trace(
    name: str, tmp_path: Path
) -> None:
    number = getattr(signal, name)
    # The import of torch sends the signal, wherever it begins.
    code = (
        "import os, sys\n"
        "class Sender:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch': os.kill(os.getpid(), " + str(int(number)) + ")\n"
        "sys.meta_path.insert(0, Sender())\n"
        "from mbrl_cli.cli import main\n"
        f"sys.argv = ['mbrl', 'train', *{RUN!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False, env=ENVIRONMENT,
        preexec_fn=default_signals,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-number, "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_ctrl_c_and_a_lost_terminal_save_the_run(name: str, tmp_path: Path) -> None:
    words = ["train", "agent=random", "total_steps=10000000", "eval_every=0", "hydra.run.dir=run"]
    process = subprocess.Popen(
        [*MBRL, *words],
        cwd=tmp_path, env=ENVIRONMENT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=default_signals,
    )  # fmt: skip
    while not list(tmp_path.glob("run/checkpoints/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    assert err.startswith("mbrl: stopped and saved; to resume type: mbrl resume ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (123.44, "123.4"),
        (-9.876, "-9.88"),
        (0.0123, "0.0123"),
        (-0.0, "0.0"),
        (-3.21e-7, "-3.21e-07"),
        (-0.00049, "-0.000490"),
        (1.5e7, "1.5e+07"),
        (float("nan"), "nan"),
    ],
)
def test_returns_have_three_significant_digits(value: float, text: str) -> None:
    assert format_return(value) == text


@pytest.mark.parametrize(
    ("returns", "text"),
    [
        ([200.0, 200.0], "200.0 ± 0.0"),
        ([-2e-5, -4e-5], "-3e-05 ± 1e-05"),
        ([-0.01, -0.03], "-0.0200 ± 0.0100"),
        ([1.0, -1.0], "0.00 ± 1.00"),
        ([100.01, 100.02], "100.0 ± 0.00500"),
    ],
)
def test_a_small_mean_and_a_small_deviation_keep_their_digits(
    returns: list[float], text: str
) -> None:
    assert format_mean_and_std(np.array(returns)) == text
