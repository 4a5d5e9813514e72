"""Gradient steps and decisions per second of `agent=tdmpc2` and of TD-MPC2's public implementation.

Both have the same widths, critics, bins, batch, horizon, plans, proposals and iterations, float32
and one thread of a CPU. Three processes take turns: ours, the peer's operations one by one
(eager), and the peer with torch.compile. The last one needs a C++ compiler and takes minutes of CPU
time before its first result; `--modes eager` leaves it out. The main measure is CPU time, because
other programs may run beside; `--out` also writes wall time. Turns of less than some seconds of CPU
time, or little of a core, slow the peer down more than ours. The peer needs a checkout and a
virtual environment of its own:

    git clone https://github.com/nicklashansen/tdmpc2 peer
    python -m venv peer_env && peer_env/bin/pip install torch tensordict torchrl hydra-core
    python benchmarks/tdmpc2_peer.py --peer peer --peer-python peer_env/bin/python --out peer.json

| job | measured |
|---|---|
| update | a gradient step of model and policy, with the batch that it samples from the replay |
| learn | the same for one fixed batch |
| decide | an action for one environment in training: plan, draw a plan, add noise |

Differences that remain at equal sizes:

- ours: SiLU, LayerNorm without scale and shift in hidden layers, no dropout, normalized
  observations; TD targets and policy from two critics; values of plans from the mean of all critics
  at the policy's mode; one plan is the last mean.
- peer: Mish, LayerNorm with scale and shift, dropout in the critics; all critics are evaluated and
  two of them used, everywhere; values of plans at a sample of the policy.
- Neither has a termination head here: no transition terminates, and ours is then off.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, cast

from tdmpc2_peer_worker import ROWS, Jobs, serve, transitions

WORKER = Path(__file__).with_name("tdmpc2_peer_worker.py")
OBS_DIM, ACTION_DIM = 24, 6  # as of walker-walk
PLANS = {  # population, proposals, iterations
    "tiny": (128, 6, 4),
    "5M": (512, 24, 6),
}
MODES = ("eager", "compiled")  # of the peer: operations one by one, or torch.compile
JOBS = ("update", "learn", "decide")
# The peer's train.py sets the first two. The others are what `set_threads_and_malloc` sets in a run
# of ours, so that freed memory is reused on both sides.
PEER_ENVIRONMENT = {
    "LAZY_LEGACY_OP": "0", "TORCHDYNAMO_INLINE_INBUILT_NN_MODULES": "1", "OMP_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(64 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(64 * 2**20),
}  # fmt: skip


def our_jobs(size: str) -> Jobs:
    """Return the jobs of `agent=tdmpc2`."""
    import torch

    from mbrl_cli.agents.tdmpc2_agent import TDMPC2Agent
    from mbrl_cli.config.build import build
    from mbrl_cli.config.composition import compose_config
    from mbrl_cli.config.resolvers import register_resolvers
    from mbrl_cli.replay.buffer import ReplayBuffer
    from mbrl_cli.threads_and_malloc import set_threads_and_malloc

    register_resolvers()
    set_threads_and_malloc(1)
    parts = build(compose_config(our_words(size)))
    agent, spec = cast(TDMPC2Agent, parts.agent), parts.envs[0].spec
    if (spec.obs_dim, spec.action.dim) != (OBS_DIM, ACTION_DIM):
        raise SystemExit(f"walker-walk has observations and actions of another size: {spec}")
    replay = ReplayBuffer(ROWS, OBS_DIM, ACTION_DIM)
    for obs, action, reward in zip(*transitions(OBS_DIM, ACTION_DIM), strict=True):
        for row in range(len(action)):
            replay.add(
                obs[row], action[row], float(reward[row]), obs[row + 1], False,
                row == len(action) - 1,
            )  # fmt: skip
    steps = itertools.count(1)
    agent.update(replay, next(steps))
    policy = agent.policy(parts.envs, explore=True, generator=torch.Generator().manual_seed(0))
    first_obs = obs[:1]
    sample = agent.model.sample
    fixed = sample(replay, agent.batch_size, agent.generator)

    def learn() -> None:
        agent.model.sample = lambda *_: fixed  # type: ignore[method-assign]
        agent.learn(replay)
        agent.model.sample = sample  # type: ignore[method-assign]

    return {
        "update": lambda: agent.update(replay, next(steps)),  # one gradient step
        "learn": learn,
        "decide": lambda: policy.act(first_obs),
    }


def our_words(size: str) -> list[str]:
    """Return the overrides of `mbrl train` for this size."""
    population, proposals, iterations = PLANS[size]
    return [
        "env=dmc", "env.task=walker-walk", "agent=tdmpc2", "threads=1", "device=cpu",
        f"model.size={size}", f"planner.population={population}",
        f"planner.iterations={iterations}", f"agent.proposals={proposals}",
        "agent.pretrain_steps=0",
    ]  # fmt: skip


def peer_sizes(size: str) -> dict[str, Any]:
    """Return the same sizes as keys of the peer's configuration."""
    from mbrl_cli.config.composition import compose_config
    from mbrl_cli.config.resolvers import register_resolvers
    from mbrl_cli.nets.implicit_world_model import SIZES

    register_resolvers()
    config = compose_config(our_words(size))
    population, proposals, iterations = PLANS[size]
    widths = SIZES[size]  # type: ignore[index]
    return {
        "task": "walker-walk", "tasks": ["walker-walk"], "multitask": False, "task_dim": 0,
        "obs_shape": {"state": [OBS_DIM]}, "action_dim": ACTION_DIM, "episode_length": 500,
        "latent_dim": widths.latent, "enc_dim": widths.encoder, "mlp_dim": widths.hidden,
        "num_q": widths.critics, "num_enc_layers": 2, "num_bins": config.model.num_bins,
        "horizon": config.planner.horizon, "num_samples": population, "num_pi_trajs": proposals,
        "iterations": iterations, "batch_size": config.agent.batch_size,
        "num_elites": round(config.planner.elite_ratio * population),
    }  # fmt: skip


class Worker:
    """A process that serves the jobs of one implementation."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def measure(self, job: str, seconds: float) -> tuple[float, float]:
        """Call a job for some CPU seconds; return its calls per second of CPU and of wall time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{job} {seconds}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.process.args!r} ended; its error stands above")
        count, wall, cpu = json.loads(answer)
        return count / cpu, count / wall

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure_size(options: argparse.Namespace, size: str) -> list[dict[str, Any]]:
    """Return one row for each job, with the rates of each round."""
    sizes = peer_sizes(size)
    commands = {"ours": [sys.executable, __file__, "--serve", size]}
    for mode in options.modes:
        text = json.dumps({**sizes, "compile": mode == "compiled"})
        commands[mode] = [options.peer_python, str(WORKER), str(options.peer), text]
    workers = {
        name: Worker(command, {} if name == "ours" else PEER_ENVIRONMENT)
        for name, command in commands.items()
    }
    rows = []
    for job in options.jobs:
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
        for turn in range(options.rounds + 1):
            for name, worker in workers.items():
                rate = worker.measure(job, options.seconds)
                print(f"{size} {job} {name}: {rate[0]:.3g} per CPU second", file=sys.stderr)
                if turn:  # the first one warms up, or compiles
                    rates[name].append(rate)
        cpu = {name: [pair[0] for pair in pairs] for name, pairs in rates.items()}
        medians = {f"{name}/s": median(values) for name, values in cpu.items()}
        ratios = {
            f"ours / {name}": median(a / b for a, b in zip(cpu["ours"], cpu[name], strict=True))
            for name in options.modes
        }
        rows.append({"size": size, "job": job, **medians, **ratios, "rates": rates})
    for worker in workers.values():
        worker.close()
    return rows


def main() -> None:
    """Measure all in turns, print medians by CPU time, and write JSON to `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of nicklashansen/tdmpc2")
    parser.add_argument("--peer-python", required=True, help="Python of its virtual environment")
    parser.add_argument("--sizes", nargs="+", choices=PLANS, default=list(PLANS))
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=list(MODES), help="of the peer"
    )
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of a job per turn")
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    from timing import report

    rows = [row for size in options.sizes for row in measure_size(options, size)]
    rates = [row.pop("rates") for row in rows]
    report(rows, options.out, rounds=options.rounds, seconds=options.seconds, cpu_and_wall=rates)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(our_jobs(sys.argv[-1]))
    else:
        main()
