"""Return with a model that was learned for another reward, compared with a run from scratch.

The source run learns Pendulum-v1. The new environment has the same dynamics and another goal angle,
see `pendulum_angle.py`; its reward function is known. The reused model is frozen. The run from
scratch takes the same number of real steps of the new environment.

    python benchmarks/reuse_model.py --seeds 5
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
NEW_ENV = [
    "env=gym", "env.id=pendulum_angle:PendulumAngle-v0", "env.reward=pendulum_angle:reward",
]  # fmt: skip
PLANNER = ["planner.horizon=20", "planner.population=60", "planner.iterations=2"]


def train(folder: Path, *words: str) -> float:
    """Run `mbrl train WORDS` in `folder`; return the mean return of the final evaluation."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable, "-m", "mbrl_cli", "train", *words, f"hydra.run.dir={folder}",
        "eval_every=0", "console=false", "threads=1",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment)
    state, _ = load_final_checkpoint(folder)
    assert state is not None
    return float(state["result"])


def measure(root: Path, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Return the final return of a reused model, of a run from scratch and of random actions."""
    common = [f"final_eval_episodes={options.episodes}", f"seed={seed}"]
    train(
        root / "source", "env=pendulum", "model=gaussian_ensemble", "planner=cem",
        f"total_steps={options.source_steps}", *common,
    )  # fmt: skip
    new = [*NEW_ENV, f"total_steps={options.steps}", *common]
    return {
        "reused": train(
            root / "reused", *new, *PLANNER, "prefill_steps=0", f"model_from={root / 'source'}",
            "model_from_frozen=true",
        ),
        "scratch": train(
            root / "scratch", *new, *PLANNER, f"prefill_steps={options.steps // 2}",
            "agent.fit_every=25",
        ),
        "random": train(root / "random", *new, "agent=random"),
    }  # fmt: skip


def main() -> None:
    """Print the returns, one line for each seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--source-steps", type=int, default=1500, help="real steps of Pendulum-v1")
    parser.add_argument("--steps", type=int, default=200, help="real steps of the new environment")
    parser.add_argument("--episodes", type=int, default=20, help="episodes per evaluation")
    options = parser.parse_args()
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            returns = measure(Path(folder), seed, options)
        columns = "  ".join(f"{name} {value:.1f}" for name, value in returns.items())
        print(f"seed {seed}: {columns}", flush=True)


if __name__ == "__main__":
    main()
