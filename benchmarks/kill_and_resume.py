"""Kill runs with SIGKILL at random moments, resume each, and compare it with an uninterrupted run.

Final weights, generators, replay, metrics.csv and TensorBoard's points (except `time/`) must be
equal to the bit. Every fifth kill happens while a checkpoint is being written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.checkpoint_store import load_newest_replay

ENVS = ("cartpole", "pendulum")
RUN = [
    "total_steps=300", "prefill_steps=60", "eval_every=70", "eval_episodes=2",
    "final_eval_episodes=2", "env.max_episode_steps=40", "checkpoint_every=20", "threads=1",
    "device=cpu", "console=false",
]  # fmt: skip
PLANNER = ["planner=cem", "planner.horizon=10", "planner.population=40"]
FITS = ["agent.fit_every=20", "model.max_steps=60"]
SMALL_SAC = ["agent.sac.hidden=[32,32]", "agent.sac.batch_size=64", "agent.sac.updates_per_step=2"]
AGENTS = {
    "mpc": ["agent=mpc", *PLANNER, *FITS],
    "mpc_value": ["agent=mpc", "agent.terminal_value=true", *PLANNER, *FITS, *SMALL_SAC],
    "sac": ["agent=sac", "agent.hidden=[32,32]", "agent.batch_size=64"],
    "mbpo": ["agent=mbpo", "agent.rollouts=100", *FITS, *SMALL_SAC],
    "mbpo_plan": ["agent=mbpo", "agent.act=plan", *PLANNER, *FITS, *SMALL_SAC],
    "dreamer": [
        "agent=dreamer",
        "agent.pretrain_steps=5",
        "agent.replay_ratio=0.1",
        "model.batch_size=4",
        "model.sequence_length=8",
        "agent.log_every=20",
    ],
    "alphazero": ["agent=alphazero", "planner.num_simulations=8", "agent.batch_size=16"],
}


def start(*words: str) -> subprocess.Popen[bytes]:
    """Start `mbrl` with these arguments and return the process."""
    return subprocess.Popen(
        [sys.executable, "-m", "mbrl_cli", *words], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def finish(*words: str) -> float:
    """Run `mbrl` with these arguments to its end; return the duration in seconds."""
    begin = time.monotonic()
    if start(*words).wait() != 0:
        raise RuntimeError(f"mbrl {' '.join(words)} failed")
    return time.monotonic() - begin


def outcome(folder: Path) -> dict[str, object]:
    """Return the results of a run that must be equal."""
    rows = (folder / "metrics.csv").read_bytes().splitlines(keepends=True)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    stored, episodes = load_newest_replay(folder)
    return {
        "weights": (folder / "checkpoint.safetensors").read_bytes(),
        "metrics.csv": b"".join(row for row in rows if b",time/" not in row),
        "events": {
            tag: repr([(point.step, point.value) for point in events.Scalars(tag)])
            for tag in events.Tags()["scalars"]
            if not tag.startswith("time/")
        },
        "replay": {name: np.asarray(part).tobytes() for name, part in stored.items()},
        "episodes": episodes,
    }


def kill_at_random(
    run: Sequence[str], folder: Path, seconds: float, in_checkpoint: bool, rng: random.Random
) -> str:
    """Run and kill; return how far the run was when it was killed."""
    process = start("train", *run, f"hydra.run.dir={folder}")
    moment = time.monotonic() + rng.uniform(0.0, seconds)
    while process.poll() is None and time.monotonic() < moment:
        time.sleep(0.001)
    while in_checkpoint and process.poll() is None:
        if list((folder / "checkpoints").glob(".*.tmp")):
            break
    if process.poll() is not None:
        return "finished"
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (folder / "config.yaml").exists():
        return "too early"
    unfinished = len(list(folder.glob("*/.*.tmp")))
    metrics = folder / "metrics.csv"
    last = metrics.read_bytes().rsplit(b"\n", 2)[-2:] if metrics.exists() else []
    row = b"".join(last).decode()
    return f"after {row or 'nothing'}" + " in the middle of a file" * bool(unfinished)


def main(arguments: list[str]) -> int:
    """Return the number of resumed runs that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=["mpc"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the results as JSON")
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        root, uninterrupted, seconds = Path(scratch), {}, {}
        for number in range(options.kills):
            agent = options.agents[number // len(ENVS) % len(options.agents)]
            # AlphaZero needs one discrete action.
            env = ENVS[0] if agent == "alphazero" else ENVS[number % len(ENVS)]
            name, run = f"{env} {agent}", [f"env={env}", *RUN, *AGENTS[agent]]
            if name not in uninterrupted:
                reference = root / name.replace(" ", "_")
                seconds[name] = finish("train", *run, f"hydra.run.dir={reference}")
                uninterrupted[name] = outcome(reference)
            reached, folder = "too early", root / str(number)
            while reached in ("too early", "finished"):  # nothing to resume: try again
                folder = root / f"{number}_{rng.random()}"
                reached = kill_at_random(run, folder, seconds[name], number % 5 == 4, rng)
            finish("resume", str(folder))
            now = outcome(folder)
            differ = [part for part, value in uninterrupted[name].items() if now[part] != value]
            results.append({"run": name, "killed": reached, "differ": differ})
            print(f"{number + 1:3} {name:19} killed {reached}: {differ or 'equal'}", flush=True)
    wrong = sum(bool(row["differ"]) for row in results)
    print(f"{len(results) - wrong} of {len(results)} are equal to the bit")
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    return wrong


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
