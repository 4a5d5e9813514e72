"""Run `mbrl` in processes that are forked from this one, which has imported everything.

The start of such a process takes milliseconds instead of seconds, so hundreds of runs are possible
in minutes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

import mbrl_cli
from mbrl_cli.cli import main as mbrl_main

TOO_LONG = 600.0  # seconds after which a blocked process is killed; other programs may slow it down


class Done(NamedTuple):
    """How a command ended."""

    code: int  # negative: killed by this signal
    out: str
    err: str


def import_everything() -> None:
    """Import what commands need, so that the forked processes start with it."""
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(mbrl_cli.__path__, "mbrl_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("torch.utils.tensorboard.summary")


def start_mbrl(
    words: list[str],
    folder: Path,
    before: Callable[[], None] = lambda: None,
    cpu_seconds: float | None = None,
) -> int:
    """Start `mbrl WORDS` in a forked process that works in `folder`; return its process id.

    Args:
        words: the command and its arguments.
        folder: the current folder of the process; `stdout` and `stderr` in it hold the output.
        before: is called in the process before the command.
        cpu_seconds: the process is killed after this processor time; None: no limit.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(folder)
        here = str(Path(__file__).parent)  # the command `mbrl` does not search this folder
        sys.path[:] = [entry for entry in sys.path if entry != here]
        for number, name in enumerate(("stdout", "stderr"), start=1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if cpu_seconds is not None:
            seconds = int(cpu_seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        sys.argv = ["mbrl", *words]
        before()
        mbrl_main()
        code = 0
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait_for(child: int, folder: Path) -> Done:
    """Wait until a process that `start_mbrl` started has ended; kill it if that takes too long."""
    handle = os.pidfd_open(child)
    if not select.select([handle], [], [], TOO_LONG)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(handle)
    _, status = os.waitpid(child, 0)
    out, err = ((folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
    return Done(os.waitstatus_to_exitcode(status), out, err)
