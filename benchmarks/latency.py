"""Measure the decision latency of the planners, for one environment and for a batch.

Prints the median, the 95th percentile and the maximum in milliseconds.

python benchmarks/latency.py --envs cartpole pendulum --batch 8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median, quantiles

import torch
from hydra import compose, initialize_config_dir
from timing import report, synchronize

from mbrl_cli.config.build import build
from mbrl_cli.config.groups import config_dir
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.seeding import torch_generator
from mbrl_cli.threads_and_malloc import set_threads_and_malloc


def decision_times(overrides: list[str], num_envs: int, decisions: int) -> list[float]:
    """Return the seconds of each decision for a batch of `num_envs` environments."""
    register_resolvers()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        parts = build(compose("train", overrides=overrides))
    set_threads_and_malloc(parts.threads)
    envs = parts.eval_envs.take(num_envs)
    obs = torch.stack([torch.from_numpy(env.reset(i)) for i, env in enumerate(envs)]).numpy()
    policy = parts.agent.policy(envs, False, torch_generator(0, "latency", parts.device))
    policy.reset()
    seconds = []
    for _ in range(decisions + 10):
        start = time.perf_counter()
        policy.act(obs)
        synchronize(parts.device)
        seconds.append(time.perf_counter() - start)
    return seconds[10:]


def main() -> None:
    """Measure, print a table, and write JSON to `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--envs", nargs="+", default=["cartpole", "cartpole_continuous", "pendulum"]
    )
    parser.add_argument("--planners", nargs="+", default=["cem", "icem", "mppi", "random_shooting"])
    parser.add_argument("--batch", type=int, default=8, help="number of environments in the batch")
    parser.add_argument("--decisions", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", default="auto")
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    rows = []
    for env in options.envs:
        for planner in options.planners:
            run = [f"env={env}", f"planner={planner}", f"device={options.device}"]
            run.append(f"threads={options.threads}")
            one = decision_times(run, 1, options.decisions)
            many = decision_times(run, options.batch, options.decisions)
            rows.append(
                {
                    "env": env, "planner": planner, "median ms": 1e3 * median(one),
                    "p95 ms": 1e3 * quantiles(one, n=20)[-1], "worst ms": 1e3 * max(one),
                    f"{options.batch} envs ms": 1e3 * median(many),
                    "batch / one": median(many) / median(one),
                }
            )  # fmt: skip
    report(rows, options.out, decisions=options.decisions, device=options.device)


if __name__ == "__main__":
    main()
