"""Measure start-up times: `mbrl --help`, and a short run, relative to the import of torch.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from timing import report, time_interleaved


def main() -> None:
    """Measure, print a table, and write JSON to `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first_step = [
            "train", "total_steps=12", "prefill_steps=10", "eval_every=0", "eval_episodes=1",
            "final_eval_episodes=1", "env.max_episode_steps=11", "console=false",
            f"hydra.run.dir={folder}/${{run_token:}}",
        ]  # fmt: skip
        mbrl = [sys.executable, "-m", "mbrl_cli"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "mbrl --help": [*mbrl, "--help"],
            "mbrl list": [*mbrl, "list"],
            "12 steps, fit, plan, evaluate": [*mbrl, *first_step],
        }

        def job(command: list[str]):  # type: ignore[no-untyped-def]
            return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        seconds = time_interleaved({name: job(c) for name, c in commands.items()}, options.rounds)
    torch_import = median(seconds["import torch"])
    rows = [
        {"command": name, "seconds": median(s), "of import torch": median(s) / torch_import}
        for name, s in seconds.items()
    ]
    report(rows, options.out, rounds=options.rounds)


if __name__ == "__main__":
    main()
