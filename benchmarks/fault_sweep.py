"""A sweep of six tiny runs, in which `slurm_sweep.py` and `ray_sweep.py` plant faults.

A run takes about a minute and little of the CPU, because its environment sleeps (`slow_target.py`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from run_outcome import differing_parts, outcome

HERE = Path(__file__).parent
RUNS = [f"{model}_s{seed}" for model in ("mlp", "gaussian_ensemble") for seed in (0, 1, 2)]
WORDS = [
    "model=mlp,gaussian_ensemble", "seed=0,1,2", "env=gym", "env.id=slow_target:SlowTarget-v0",
    "total_steps=300", "prefill_steps=40", "eval_every=60", "eval_episodes=2",
    "final_eval_episodes=2", "checkpoint_every=20", "device=cpu", "console=false", "planner=cem",
    "planner.horizon=3", "planner.population=12", "planner.iterations=1", "agent.fit_every=20",
    "model.max_steps=20", "model.hidden=[8]", "model.termination_steps=5",
]  # fmt: skip
RESULT = "checkpoint.safetensors"  # a finished run has this file
TOO_LONG = 1800.0  # seconds


class FaultSweep:
    """The sweep in a scratch folder, without faults and with them."""

    def __init__(self, root: Path) -> None:
        """Work in `root`."""
        self.root = root
        self.start = time.monotonic()
        self.launcher: subprocess.Popen[bytes] | None = None
        self.faults: dict[str, str] = dict.fromkeys(RUNS, "")
        for name in ("moving_target.py", "slow_target.py"):
            shutil.copy(HERE / name, root)

    def run_without_faults(self) -> None:
        """Run the sweep without a launcher and without sleeping: the numbers are the same."""
        if all((self.root / "reference" / run / RESULT).exists() for run in RUNS):
            return
        done = subprocess.run(
            self._command("reference"), cwd=self.root, text=True, capture_output=True,
            env=self._environ() | {"SLOW_TARGET_SECONDS": "0"},
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)

    def launch(self, *words: str) -> None:
        """Start the sweep with a launcher; its output is in the files out and err."""
        with (self.root / "out").open("wb") as out, (self.root / "err").open("wb") as err:
            self.launcher = subprocess.Popen(
                self._command("sweep", *words),
                cwd=self.root,
                env=self._environ(),
                stdout=out,
                stderr=err,
            )

    def resume(self) -> int:
        """Type the same command without a launcher, which resumes what is not finished."""
        done = subprocess.run(self._command("sweep"), cwd=self.root, env=self._environ())
        return done.returncode

    def folder(self, run: str) -> Path:
        """Return the folder of a run of the sweep."""
        return self.root / "sweep" / run

    def is_saved(self, run: str) -> bool:
        """Return whether the run is under way and has a checkpoint."""
        folder = self.folder(run)
        return any(folder.glob("checkpoints/*.safetensors")) and not self.is_finished(run)

    def is_finished(self, run: str) -> bool:
        """Return whether the run has written its result."""
        return (self.folder(run) / RESULT).exists()

    def process(self, run: str) -> int:
        """Return the id of the process that runs a run."""
        return int((self.folder(run) / ".lock").read_text())

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds."""
        end = time.monotonic() + TOO_LONG
        while not condition():
            if self.launcher is not None and self.launcher.poll() is not None:
                raise RuntimeError(f"{what}: the launching process has ended before")
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: not after {TOO_LONG:.0f} seconds")
            time.sleep(0.5)
        self.say(what)

    def wait_for_launcher(self) -> int:
        """Wait until the launching process ends; print its output and return its exit code."""
        assert self.launcher is not None
        code = self.launcher.wait(TOO_LONG)
        self.say(f"the launching process ended with exit code {code}")
        self.print_output()
        return code

    def stop_launcher(self) -> None:
        """End the launching process after an error and print its output."""
        if self.launcher is not None:
            self.launcher.kill()
            self.launcher.wait()
            self.print_output()

    def print_output(self) -> None:
        """Print what the launching process wrote."""
        for name in ("out", "err"):
            print((self.root / name).read_text())

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self.start:6.0f} s  {text}", flush=True)

    def add_fault(self, run: str, fault: str) -> None:
        """Note that a fault hit a run, with the steps of its newest checkpoint."""
        saved = [int(p.stem) for p in self.folder(run).glob("checkpoints/*.safetensors")]
        text = f"{fault} after {max(saved, default=0)} saved steps"
        self.faults[run] = ", ".join(filter(None, [self.faults[run], text]))
        self.say(f"{run}: {text}")

    def compare(self, restarts: dict[str, str]) -> int:
        """Print a table of the runs and their faults; return the number of runs that differ."""
        differ = 0
        column = "restarts | " if restarts else ""
        print(f"\n| run | fault | {column}difference |\n|---|---|{'---|' * bool(restarts)}---|")
        for run in RUNS:
            if self.is_finished(run):
                parts = differing_parts(self.folder(run), outcome(self.root / "reference" / run))
            else:
                parts = ["not finished"]
            differ += bool(parts)
            print(
                f"| `{run}` | {self.faults[run] or 'none'} "
                + f"| {restarts.get(run)} " * bool(restarts)
                + f"| {', '.join(parts) or 'none'} |"
            )
        print(f"{len(RUNS) - differ} of {len(RUNS)} are equal to the bit")
        return differ

    def _command(self, folder: str, *words: str) -> Sequence[str]:
        train = [sys.executable, "-m", "mbrl_cli", "train", "-m"]
        return [*train, *WORDS, f"hydra.sweep.dir={folder}", *words]

    def _environ(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}


@contextmanager
def scratch_folder(arguments: list[str], description: str | None) -> Iterator[Path]:
    """Yield the folder of `--scratch`, which keeps its runs without faults, or a temporary one."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, help="folder that is kept, with finished runs")
    folder = parser.parse_args(arguments).scratch
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "sweep", ignore_errors=True)
    yield folder.resolve()
