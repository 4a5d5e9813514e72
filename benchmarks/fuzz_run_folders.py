"""Damage and forge run folders at random; check what `mbrl resume` and `mbrl eval` do with them.

    python benchmarks/fuzz_run_folders.py [--cases 500] [--seed 0] [--first 0] [--only 17]

Short runs of several agents are made, once interrupted and once finished. Each case copies one,
changes one thing and runs both commands in forked processes; a finished run is extended. A command
must end within 5 seconds of processor time. It ends with a code from 1 to 5 and at most three lines
on stderr, or with code 0. Then its result must equal that of the unchanged folder, unless the
folder was forged: a value that was replaced together with the checksum cannot be recognised. The
exit code is 1 if a case fails.

The file has more than 300 lines because it holds every kind of damage beside the checks.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from forked_mbrl import Done, import_everything, start_mbrl, wait_for

from mbrl_cli.checkpoint import encode_checkpoint, load_checkpoint
from mbrl_cli.checkpoint_store import load_newest_replay

LIMIT = 5.0  # seconds of processor time
RUN = [
    "total_steps=60", "prefill_steps=20", "eval_every=25", "eval_episodes=1",
    "final_eval_episodes=1", "checkpoint_every=10", "env.max_episode_steps=10",
    "keep_checkpoints=3", "device=cpu", "threads=1", "console=false",
]  # fmt: skip
EXTENDED = "total_steps=80"
AGENTS = {
    "linear": [
        "env=pendulum", "agent=mpc", "model=linear", "planner=random_shooting",
        "planner.horizon=3", "planner.population=10",
    ],
    "sac": ["env=pendulum", "agent=sac", "agent.hidden=[8]", "agent.batch_size=8"],
    "ensemble": [
        "env=cartpole", "agent=mbpo", "agent.rollouts=20", "agent.fit_every=20",
        "model.max_steps=5", "model.hidden=[8]", "model.termination_steps=5",
        "agent.sac.hidden=[8]", "agent.sac.batch_size=8", "agent.sac.updates_per_step=1",
    ],
    "dreamer": [
        "env=pendulum", "agent=dreamer", "agent.pretrain_steps=2", "agent.replay_ratio=0.1",
        "model.batch_size=2", "model.sequence_length=4",
    ],
    "tdmpc2": [
        "env=pendulum", "agent=tdmpc2", "planner.population=8", "agent.batch_size=4",
        "agent.pretrain_steps=2", "agent.proposals=2",
    ],
    "muzero": [
        "env=cartpole", "agent=muzero", "planner.num_simulations=2", "agent.batch_size=4",
        "model.hidden=[8]", "model.latent_dim=8",
    ],
}  # fmt: skip
FORGED_VALUES: list[Any] = [
    None, True, -1, 0, 10**9, 2**70, 1.5, float("nan"), float("inf"), "x", "\x1b[2J", "../../x", [],
    [[]], [0] * 1000, {}, {"x": 1}, (), torch.zeros(()), torch.zeros(3), torch.zeros(0, 7),
    torch.zeros(2, dtype=torch.int64), torch.zeros(5, dtype=torch.uint8),
]  # fmt: skip
Random = random.Random


def run_mbrl(words: list[str], folder: Path) -> Done:
    """Run `mbrl WORDS` in a forked process that starts in `folder`."""
    return wait_for(start_mbrl(words, folder, cpu_seconds=LIMIT), folder)


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


def change_rows(run: Path, rng: Random) -> str:
    """Delete, repeat, swap or change rows of metrics.csv."""
    path = run / "metrics.csv"
    rows = path.read_text().splitlines(keepends=True)
    at = rng.randrange(1, len(rows))
    step, tag, value = rows[at].split(",")
    rows[at : at + 1] = rng.choice(
        [[], [rows[at]] * 2, [rows[at - 1], rows[at]], [f"{step},{tag},1.5\n"],
         [f"-1,{tag},{value}"], [f"{step},x,{value}"], [f"{step},{tag},nan\n"]]
    )  # fmt: skip
    path.write_text("".join(rows))
    return f"row {at}"


def forge(run: Path, rng: Random) -> str:
    """Replace one value of a checkpoint or a segment, and write a correct checksum."""
    final = [path for path in [run / "checkpoint.safetensors"] if path.exists()]
    folders = [run / "checkpoints", run / "replay"]
    path = rng.choice(final + sorted(path for folder in folders for path in folder.iterdir()))
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
    flip, cut, lose, overwrite, swap, special, change_config, change_rows, forge,
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


class Unchanged(NamedTuple):
    """A run folder before it is damaged, and what the commands give for it."""

    folder: Path
    resume: list[str]  # arguments of `mbrl resume` after the folder
    result: dict[str, Any]
    table: list[str]


class RunFolders:
    """Makes the runs that are damaged, each when it is first needed."""

    def __init__(self, root: Path) -> None:
        """Work in `root`."""
        self.root = root
        self._made: dict[tuple[str, bool], Unchanged] = {}

    def get(self, agent: str, is_finished: bool) -> Unchanged:
        """Return a finished run, or one that was killed before its end."""
        key = (agent, is_finished)
        if key not in self._made:
            name = f"{agent}_{'finished' if is_finished else 'cut'}"
            folder = self._train(name, *AGENTS[agent])
            changes = [EXTENDED] if is_finished else []
            whole = self._train(f"{name}_whole", *AGENTS[agent], *changes)
            result = result_of(whole)
            if not is_finished:
                (folder / "checkpoint.safetensors").unlink()
            table = table_of(run_mbrl(["eval", name], self.root))
            self._made[key] = Unchanged(folder, changes, result, table)
        return self._made[key]

    def _train(self, name: str, *words: str) -> Path:
        done = run_mbrl(["train", *RUN, *words, f"hydra.run.dir={name}"], self.root)
        assert done.code == 0, done
        return self.root / name


def play(
    case: int, seed: int, agents: list[str], folders: RunFolders
) -> tuple[str, list[str], dict[str, Done]]:
    """Damage a run and run the commands; return what was changed, the faults and the results."""
    rng = random.Random(f"{seed} {case}")
    root, run = folders.root, folders.root / "run"
    agent, is_finished = rng.choice(agents), rng.random() < 0.5
    unchanged = folders.get(agent, is_finished)
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(unchanged.folder, run)
    change = rng.choice(CHANGES)
    what = f"{agent}{' finished' * is_finished}: {change.__name__} {change(run, rng)}"
    done = {
        "eval": run_mbrl(["eval", "run"], root),
        "resume": run_mbrl(["resume", "run", *unchanged.resume], root),
    }
    found = [f"{command}: {text}" for command in done for text in faults(done[command])]
    is_forged = change is forge
    if done["resume"].code == 0 and not is_forged:
        result = result_of(run)
        different = [key for key in result if result[key] != unchanged.result[key]]
        if different:
            found.append(f"resume: silently different {different}")
    named = "mbrl: " in done["eval"].out  # another checkpoint was used, and it says so
    lost = change is lose  # eval uses the newest checkpoint that is there
    must_agree = done["eval"].code == 0 and not (is_forged or named or lost)
    if must_agree and table_of(done["eval"]) != unchanged.table:
        found.append("eval: silently different")
    if (root / "victim").read_text() != "mine":
        found.append("a file outside of the folder changed")
    return what, found, done


def main(arguments: list[str] | None = None) -> int:
    """Play the cases; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=[*AGENTS])
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="play this case alone and print its output")
    options = parser.parse_args(arguments)
    import_everything()
    numbers = range(options.first, options.first + options.cases)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["XDG_STATE_HOME"] = str(root / "state")
        (root / "victim").write_text("mine")
        folders = RunFolders(root)
        for case in numbers if options.only is None else [options.only]:
            what, found, done = play(case, options.seed, options.agents, folders)
            change = what.partition(": ")[2].partition(" ")[0]
            counts["failed"] += bool(found)
            counts["refused by resume"] += done["resume"].code != 0
            counts[change] += 1
            for text in found:
                print(f"case {case}: {what}: {text}", flush=True)
            if options.only is not None:
                print(what, done)
            elif case % 50 == 49:
                print(f"{case + 1} cases: {dict(sorted(counts.items()))}", flush=True)
    print(f"{len(numbers)} cases: {dict(sorted(counts.items()))}")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
