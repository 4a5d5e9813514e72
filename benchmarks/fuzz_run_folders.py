"""Damage and forge run folders at random; check what `mbrl resume` and `mbrl eval` do with them.

    python benchmarks/fuzz_run_folders.py [--cases 500] [--seed 0] [--only 17]

One short run is made and interrupted. Each case copies it, changes one thing and runs both commands
in a forked process. A command must end within 5 seconds of processor time. It ends with a code from
1 to 5 and at most three lines on stderr, or with code 0. Then its result must equal that of the
unchanged folder, unless the folder was forged: a value that was replaced together with the checksum
cannot be recognised. The exit code is 1 if a case fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.tensorboard.summary import hparams  # noqa: F401

# Imported here, so that the forked processes start with them.
import mbrl_cli.config.eval_command
import mbrl_cli.config.resume_command
import mbrl_cli.models.linear
import mbrl_cli.planners.random_shooting  # noqa: F401
from mbrl_cli.checkpoint import encode_checkpoint, load_checkpoint
from mbrl_cli.checkpoint_store import load_newest_replay
from mbrl_cli.cli import main as mbrl_main

LIMIT = 5.0  # seconds of processor time
RUN = [
    "env=pendulum", "agent=mpc", "planner=random_shooting", "planner.horizon=3",
    "planner.population=10", "model=linear", "total_steps=60", "prefill_steps=20", "eval_every=25",
    "eval_episodes=1", "final_eval_episodes=1", "checkpoint_every=10", "env.max_episode_steps=10",
    "keep_checkpoints=3", "device=cpu", "threads=1", "console=false",
]  # fmt: skip
FORGED_VALUES: list[Any] = [
    None, True, -1, 0, 10**9, 2**70, 1.5, float("nan"), float("inf"), "x", "\x1b[2J", "../../x", [],
    [[]], [0] * 1000, {}, {"x": 1}, (), torch.zeros(()), torch.zeros(3), torch.zeros(0, 7),
    torch.zeros(2, dtype=torch.int64), torch.zeros(5, dtype=torch.uint8),
]  # fmt: skip
Random = random.Random


class Done(NamedTuple):
    """How a command ended."""

    code: int  # negative: killed by this signal
    out: str
    err: str


def run_mbrl(words: list[str], folder: Path) -> Done:
    """Run `mbrl WORDS` in a forked process that starts in `folder`."""
    files = [folder / "stdout", folder / "stderr"]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            for number, path in enumerate(files, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            used = time.process_time()
            seconds = int(used + LIMIT) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            signal.alarm(60)
            sys.argv = ["mbrl", *words]
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
    _, status = os.waitpid(child, 0)
    out, err = (path.read_text(errors="replace") for path in files)
    return Done(os.waitstatus_to_exitcode(status), out, err)


def pick_file(run: Path, rng: Random) -> Path:
    """Return one of the files of a run, each folder with the same probability."""
    return rng.choice(sorted(p for p in rng.choice([run, run / "checkpoints", run / "replay"])
                             .iterdir() if p.is_file()))  # fmt: skip


def flip(run: Path, rng: Random) -> str:
    """Flip one bit."""
    path = pick_file(run, rng)
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path.name


def cut(run: Path, rng: Random) -> str:
    """Cut the end off."""
    path = pick_file(run, rng)
    os.truncate(path, rng.randrange(path.stat().st_size + 1))
    return path.name


def lose(run: Path, rng: Random) -> str:
    """Delete a file."""
    path = pick_file(run, rng)
    path.unlink()
    return path.name


def overwrite(run: Path, rng: Random) -> str:
    """Replace a block by random bytes, zeros or text."""
    path = pick_file(run, rng)
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content) + 1)
    block = rng.choice([rng.randbytes(64), bytes(64), b"[" * 3000, b"\n\n\n", b"\x1b[2J,,,"])
    content[start : start + len(block)] = block
    path.write_bytes(content)
    return path.name


def swap(run: Path, rng: Random) -> str:
    """Replace a file by another one of the run."""
    path, other = pick_file(run, rng), pick_file(run, rng)
    path.write_bytes(other.read_bytes())
    return f"{path.name} by {other.name}"


def special(run: Path, rng: Random) -> str:
    """Replace a file by a link, a FIFO or a folder."""
    path = pick_file(run, rng)
    path.unlink()
    kind = rng.choice(["link", "loop", "fifo", "folder", "device"])
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link": run.parent / "victim", "loop": path, "device": "/dev/zero"}[kind])
    return f"{path.name}: {kind}"


def change_config(run: Path, rng: Random) -> str:
    """Delete, repeat or change a line of config.yaml."""
    path = run / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    at = rng.randrange(len(lines))
    key = lines[at].partition(":")[0]
    value = rng.choice(
        ["1e999", "-1", "[]", "{}", "null", "'${oc.env:HOME}'", "*a", "&a [1]", "!!set {}",
         "os:system", '"\\e[2J"', "9" * 5000, "0x" + "f" * 9000]
    )  # fmt: skip
    lines[at : at + 1] = rng.choice([[], [lines[at]] * 2, [f"{key}: {value}\n"]])
    path.write_text("".join(lines))
    return f"line {at + 1}"


def forge(run: Path, rng: Random) -> str:
    """Replace one value of a checkpoint or a segment, and write a correct checksum."""
    path = rng.choice(sorted([*(run / "checkpoints").iterdir(), *(run / "replay").iterdir()]))
    state = load_checkpoint(path)
    node, keys = state, []
    while True:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        keys.append(str(key))
        inner = node[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
            node = inner
        else:
            break
    if rng.random() < 0.1:
        del node[key]
    else:
        node[key] = rng.choice(FORGED_VALUES)
    path.write_bytes(encode_checkpoint(path.stem, state))
    return f"{path.name}: {'.'.join(keys)}"


CHANGES: list[Callable[[Path, Random], str]] = [
    flip, cut, lose, overwrite, swap, special, change_config, forge,
]  # fmt: skip


def result_of(run: Path) -> dict[str, Any]:
    """Return what a finished run must have in common with an uninterrupted one."""
    rows = (run / "metrics.csv").read_text().splitlines()
    stored, episodes = load_newest_replay(run)
    return {
        "checkpoint": (run / "checkpoint.safetensors").read_bytes(),
        "rows": [row for row in rows if ",time/" not in row],
        "replay": {name: part.tolist() for name, part in stored.items()},
        "episodes": episodes,
    }


def faults(done: Done) -> list[str]:
    """Return what is wrong with how a command ended."""
    found = []
    if "Traceback" in done.out + done.err:
        found.append(f"traceback: {done.err[-300:]}")
    if done.code < 0:
        found.append(f"killed by {signal.Signals(-done.code).name}")
    if done.code > 0 and not 1 <= done.err.strip().count("\n") + 1 <= 3:
        found.append(f"{done.err.count(chr(10))} lines on stderr: {done.err[:300]}")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.out + done.err):
        found.append("control characters")
    return found


def table_of(done: Done) -> list[str]:
    """Return the lines with results of `mbrl eval`."""
    return [line for line in done.out.splitlines() if "mean return" in line or line[:1] == "│"]


def main(arguments: list[str] | None = None) -> int:
    """Run the cases; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this case alone")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    failed, refused = 0, 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["XDG_STATE_HOME"] = str(root / "state")
        (root / "victim").write_text("mine")
        made = run_mbrl(["train", *RUN, "hydra.run.dir=whole"], root)
        assert made.code == 0, made
        expected = result_of(root / "whole")
        shutil.copytree(root / "whole", root / "cut")
        (root / "cut" / "checkpoint.safetensors").unlink()
        expected_table = table_of(run_mbrl(["eval", "cut"], root))
        for case in range(options.cases) if options.only is None else [options.only]:
            rng = random.Random(f"{options.seed} {case}")
            shutil.rmtree(root / "run", ignore_errors=True)
            shutil.copytree(root / "cut", root / "run")
            change = rng.choice(CHANGES)
            what = f"case {case}: {change.__name__} {change(root / 'run', rng)}"
            done = {command: run_mbrl([command, "run"], root) for command in ("eval", "resume")}
            found = [f"{command}: {text}" for command in done for text in faults(done[command])]
            is_forged = change is forge
            if done["resume"].code == 0 and not is_forged:
                result = result_of(root / "run")
                different = [key for key in expected if expected[key] != result[key]]
                if different:
                    found.append(f"resume: silently different {different}")
            named = "mbrl: " in done["eval"].out  # another checkpoint was used, and it says so
            if done["eval"].code == 0 and not is_forged and not named and "checkpoints" not in what:
                lost = change is lose  # eval uses the newest checkpoint that is there
                if not lost and table_of(done["eval"]) != expected_table:
                    found.append("eval: silently different")
            if (root / "victim").read_text() != "mine":
                found.append("a file outside of the folder changed")
            refused += done["resume"].code != 0
            failed += bool(found)
            for text in found:
                print(f"{what}: {text}", flush=True)
            if options.only is not None:
                print(what, done)
    print(f"{options.cases} cases: {refused} refused by resume, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
