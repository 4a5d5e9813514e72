"""Environment steps per second of TD-MPC2 with one and with several training environments.

    python benchmarks/tdmpc2_speed.py --device cuda --size 5M --num-envs 1 16 [--eager]

Each row is a training run in this process: random steps, then `--steps` steps with one gradient
step each, planned as in the paper (512 plans, 24 of them from the policy, 6 iterations). The first
fifth of the steps is not counted: kernels are selected there. On a GPU the update and the decision
are CUDA graphs; `--eager` leaves these out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from timing import report, synchronize

from mbrl_cli.agents.tdmpc2_agent import TDMPC2Agent
from mbrl_cli.config.build import build
from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.logger import Logger
from mbrl_cli.planners.base import Planner
from mbrl_cli.runner import Runner
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

PREFILL = 1000
PAPER = [
    "agent=tdmpc2", "planner.population=512", "planner.iterations=6", "agent.proposals=24",
    "agent.pretrain_steps=1", f"prefill_steps={PREFILL}", "eval_every=0", "final_eval_episodes=1",
    "checkpoint_every=0", "console=false",
]  # fmt: skip


def measure(overrides: list[str], num_envs: int, steps: int, eager: bool) -> dict[str, Any]:
    """Return steps per second, and milliseconds per step of each phase."""
    words = [*PAPER, *overrides, f"num_envs={num_envs}", f"total_steps={PREFILL + steps}"]
    parts = build(compose_config(words))
    set_threads_and_malloc(parts.threads)
    agent = cast(TDMPC2Agent, parts.agent)
    if eager:
        agent.gradient_step = agent._gradient_step
        cast(Planner, parts.planner).is_static = False
    with tempfile.TemporaryDirectory() as name, Logger(Path(name), console=False) as logger:
        runner = Runner(parts.envs, parts.eval_envs, agent, parts.settings, logger, Path(name))
        marks: dict[int, tuple[float, dict[str, float]]] = {}
        update = agent.update

        def noting(replay: Any, env_step: int) -> dict[str, float]:
            if env_step in (first, last):
                synchronize(parts.device)
                marks[env_step] = time.perf_counter(), dict(runner.stopwatch.seconds)
            return update(replay, env_step)

        first, last = PREFILL + steps // 5, PREFILL + steps - 1
        agent.update = noting  # type: ignore[method-assign]
        runner.run()
    (start, before), (end, after) = marks[first], marks[last]
    phases = {f"{name} ms": 1e3 * (after[name] - before[name]) / (last - first)
              for name in ("fit", "plan", "env")}  # fmt: skip
    return {"num_envs": num_envs, "steps/s": (last - first) / (end - start), **phases}


def main() -> None:
    """Measure, print a table, and write JSON to `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="5M", help="tiny, small or 5M")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--steps", type=int, default=2000, help="after the random steps")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    parser.add_argument("overrides", nargs="*", help="as of `mbrl train`, for example env=pendulum")
    options = parser.parse_args()
    register_resolvers()
    words = [f"device={options.device}", f"model.size={options.size}", *options.overrides]
    rows = [measure(words, num, options.steps, options.eager) for num in options.num_envs]
    report(rows, options.out, size=options.size, device=options.device, eager=options.eager)


if __name__ == "__main__":
    main()
