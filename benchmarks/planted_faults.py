"""Are the verdicts of `mbrl diagnose` right? Runs with planted faults, and a confusion matrix.

    python benchmarks/planted_faults.py --folder FOLDER --seeds 10 11 12 13 14

trains one run for each task, fault and seed (those that exist are kept), diagnoses it, and prints
how often the verdict names the planted fault. FOLDER/verdicts.json has every verdict. Run it in the
root of the repository. The thresholds of the diagnosis were fixed on other seeds than those of the
published table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from mbrl_cli.api.loading import load_run
from mbrl_cli.diagnosis.diagnose import DEFAULT_EPISODES, Effort, diagnose
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun

PARTS = "benchmarks.planted_fault_parts"
WRAPPERS = "benchmarks.planted_wrappers"
REPORTED_LIMIT = 60  # steps after which an end of the task is reported
COMMON = [
    "eval_every=0", "final_eval_episodes=1", "console=false", "threads=1", "device=cpu",
    "check_known=false",
]  # fmt: skip
PETS = ["agent=pets", "planner=icem"]
FEW_DATA = "5 % of the data"
TASKS = {
    "cartpole": [
        "env=cartpole", "env.max_episode_steps=100", "total_steps=800", "planner.horizon=25",
    ],
    "inverted_pendulum": [
        "env=inverted_pendulum", "env.max_episode_steps=100", "total_steps=2000",
        "env.termination=known", "planner.horizon=15",
    ],
}  # fmt: skip
LIMIT_WRAPPER = f"env.wrappers=[{{_target_:{WRAPPERS}.LimitAsTermination,limit:{REPORTED_LIMIT}}}]"
# fault -> (words of the run, verdicts that are right)
FAULTS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "none": (PETS, ("healthy",)),
    FEW_DATA: (PETS, ("dynamics", "model")),  # see `train`
    "wrong reward": ([*PETS, f"env.reward={PARTS}:rewards_tilt"], ("reward",)),
    "wrong termination": (
        [*PETS, f"env.termination={PARTS}:ends_when_upright"], ("termination",)
    ),
    "crippled planner": (
        [*PETS, "planner.population=2", "planner.iterations=1"], ("planner",)
    ),
    "short horizon": ([*PETS, "planner.horizon=1"], ("horizon",)),
    "shifted actions": (
        [*PETS, "env.termination=learned", f"env.wrappers=[{WRAPPERS}.LateAction]"],
        ("shifted_actions",),
    ),
    "limit as termination": (
        [*PETS, "env.termination=learned", LIMIT_WRAPPER],
        ("time_limit_as_termination",),
    ),
    "untrained critic": (
        [
            *PETS, "agent.terminal_value=true", "agent.sac.updates_per_step=0.001",
            "planner.horizon=1",
        ],
        ("terminal_value", "value_bias", "horizon"),
    ),
    "under-trained policy": (
        ["agent=sac", "total_steps=300", "prefill_steps=100"], ("policy",)
    ),
}  # fmt: skip


def train(folder: Path, task: str, fault: str, seed: int) -> Path:
    """Train the run of one case unless it exists; return its folder."""
    run = folder / task / fault.replace(" ", "_").replace("%", "percent") / f"seed{seed}"
    if not (run / "checkpoint.safetensors").is_file():
        words = {word.split("=", 1)[0]: word for word in [*TASKS[task], *FAULTS[fault][0]]}
        if fault == FEW_DATA:  # the model is fitted once, then two steps are planned
            few = int(words["total_steps"].partition("=")[2]) // 20
            words |= {
                "prefill_steps": f"prefill_steps={few}", "total_steps": f"total_steps={few + 2}"
            }  # fmt: skip
        if "agent=sac" in words.values():
            words = {key: word for key, word in words.items() if not key.startswith("planner")}
        command = ["train", *words.values(), *COMMON, f"seed={seed}", f"hydra.run.dir={run}"]
        mbrl(command, run.parent / f"seed{seed}.train.txt")
    return run


def verdict_of(run: Path, minutes: float) -> dict[str, Any]:
    """Diagnose a run unless that is done; return what was found."""
    path = run.parent / f"{run.name}.diagnosis.json"
    if not path.is_file():
        found = diagnose(
            DiagnosedRun(load_run(run)), Effort(60.0 * minutes, DEFAULT_EPISODES), lambda *_: None
        )
        texts = [[f.severity, f.fault, f.confidence, f.text] for f in found.findings()]
        skipped = [line for section in found.sections for line in section.skipped]
        content = {
            "fault": found.fault, "verdict": found.verdict, "command": found.command,
            "seconds": found.seconds, "findings": texts, "skipped": skipped,
        }  # fmt: skip
        path.write_text(json.dumps(content, indent=1))
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def mbrl(words: list[str], output: Path) -> None:
    """Run a command; its output goes into a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w") as file:
        subprocess.run(
            [sys.executable, "-m", "mbrl_cli", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            check=True,
            env={**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
        )


def main() -> None:
    """Train, diagnose, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--budget", type=float, default=3.0, help="minutes of one diagnosis")
    parser.add_argument("--train-only", action="store_true")
    words = parser.parse_args()
    torch.set_num_threads(1)
    verdicts: dict[str, dict[str, list[str]]] = {task: {} for task in words.tasks}
    for seed in words.seeds:
        for task in words.tasks:
            for fault in words.faults:
                run = train(words.folder, task, fault, seed)
                if words.train_only:
                    continue
                found = verdict_of(run, words.budget)["fault"]
                verdicts[task].setdefault(fault, []).append(found)
                print(f"{task:18} {fault:22} seed {seed}: {found}", flush=True)
    if words.train_only:
        return
    (words.folder / "verdicts.json").write_text(json.dumps(verdicts, indent=1))
    print("\n| task | planted fault | verdicts | right |\n|---|---|---|---|")
    for task, by_fault in verdicts.items():
        for fault, found_faults in by_fault.items():
            right = sum(found in FAULTS[fault][1] for found in found_faults)
            counts = {name: found_faults.count(name) for name in sorted(set(found_faults))}
            text = ", ".join(f"{name} {count}" for name, count in counts.items())
            print(f"| {task} | {fault} | {text} | {right} of {len(found_faults)} |")


if __name__ == "__main__":
    main()
