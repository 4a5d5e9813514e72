"""A model learned on Pendulum-v1, reused for another goal angle, beside a run from scratch.

Both runs know the new reward and take the same number of real steps of the new environment; the
reused model is frozen, so its run never fits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mbrl_cli.checkpoint_store import load_final_checkpoint

HERE = Path(__file__).parent
NEW = [
    "env=gym", "env.id=pendulum_angle:PendulumAngle-v0", "env.reward=pendulum_angle:reward",
    "planner.horizon=20", "planner.population=60", "planner.iterations=2", "eval_every=0",
]  # fmt: skip


def run(folder: Path, *words: str) -> float:
    """Run `mbrl train WORDS`; return the mean return of the final evaluation."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", "mbrl_cli", "train", *words, f"hydra.run.dir={folder}",
         "console=false", "threads=1"],
        check=True, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    state = load_final_checkpoint(folder)
    assert state is not None
    return float(state["result"])


def main(arguments: list[str]) -> None:
    """Print the returns, a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--source-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=200, help="real steps of the new environment")
    parser.add_argument("--episodes", type=int, default=20, help="of each evaluation")
    options = parser.parse_args(arguments)
    more = [f"final_eval_episodes={options.episodes}"]
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as name:
            root, own = Path(name), [*more, f"seed={seed}"]
            run(root / "source", "env=pendulum", "model=gaussian_ensemble", "planner=cem",
                f"total_steps={options.source_steps}", "eval_every=0", *own)  # fmt: skip
            new = [*NEW, *own, f"total_steps={options.steps}"]
            reused = run(
                root / "reused", *new, f"model_from={root / 'source'}", "model_from_frozen=true",
                "prefill_steps=0",
            )  # fmt: skip
            half = f"prefill_steps={options.steps // 2}"
            scratch = run(root / "scratch", *new, half, "agent.fit_every=25")
            random = run(root / "random", *new[:3], *own, f"total_steps={options.steps}",
                         "eval_every=0", "agent=random")  # fmt: skip
        print(f"seed {seed}: reused {reused:.1f}  scratch {scratch:.1f}  random {random:.1f}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
