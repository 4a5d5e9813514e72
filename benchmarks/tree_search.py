"""Simulations per second of `planner=mcts` and of mctx (DeepMind's search in JAX), in turns.

Both search with the same small network. Its input is an embedding of 64 numbers and one of two
actions; it has 64 hidden units; its outputs are the next embedding, reward, policy and value. mctx
needs a virtual environment of its own:

    python -m venv mctx_env && mctx_env/bin/pip install mctx jax jaxlib
    python benchmarks/tree_search.py --mctx-python mctx_env/bin/python --out mcts.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

WIDTH, ACTIONS = 64, 2
BATCHES, SIMULATIONS = (1, 64), (32, 100)
SELECT = ("puct", "gumbel")
MIN_SECONDS = 0.2  # per turn


def repeated(search: Callable[[], object]) -> Callable[[], float]:
    """Return a job that searches for MIN_SECONDS and returns the searches per second."""

    def job() -> float:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < MIN_SECONDS:
            search()
            count += 1
        return count / (time.perf_counter() - start)

    return job


def our_job(batch: int, simulations: int, select: str) -> Callable[[], float]:
    """Return a job that searches with `planner=mcts`."""
    import torch

    from mbrl_cli.planners.mcts import MCTS
    from mbrl_cli.planners.world import World
    from mbrl_cli.types import ActionSpec, State, Step

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    w1 = torch.randn(WIDTH + ACTIONS, WIDTH, generator=generator) * WIDTH**-0.5
    w2 = torch.randn(WIDTH, WIDTH + ACTIONS + 2, generator=generator) * WIDTH**-0.5
    b1, b2 = torch.zeros(WIDTH), torch.zeros(WIDTH + ACTIONS + 2)

    def branch(state: State, num_plans: int) -> State:
        return {"out": state["out"][:, None]}

    def step(state: State, action: torch.Tensor) -> Step:
        x = torch.cat([state["out"][:, 0, :WIDTH], action], dim=1)
        out = torch.addmm(b2, torch.addmm(b1, x, w1).relu_(), w2)[:, None]  # [B, 1, ...]
        return Step({"out": out}, out[..., WIDTH], torch.ones(len(x), 1))

    action = ActionSpec("discrete", ACTIONS, (ACTIONS,))
    world = World(
        action,
        None,  # type: ignore[arg-type]  # no plans are imagined
        branch,
        step,
        discount=0.99,
        value=lambda state: state["out"][..., WIDTH + 1],
        prior=lambda state: state["out"][:, 0, WIDTH + 2 :].softmax(-1),
    )
    planner = MCTS(
        action, torch.device("cpu"), num_simulations=simulations, select=select, leaf_plans=0
    )
    root = {"out": torch.randn(batch, WIDTH + ACTIONS + 2, generator=generator)}

    def search() -> None:
        with torch.inference_mode():
            planner.search(world, root, {}, generator, noise=True)

    search()
    return repeated(search)


def mctx_job(batch: int, simulations: int, select: str) -> Callable[[], float]:
    """Return a job that searches with mctx, compiled by JAX."""
    import jax
    import jax.numpy as jnp
    import mctx

    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    w1 = jax.random.normal(keys[0], (WIDTH + ACTIONS, WIDTH)) * WIDTH**-0.5
    w2 = jax.random.normal(keys[1], (WIDTH, WIDTH + ACTIONS + 2)) * WIDTH**-0.5

    def recurrent(params: Any, key: Any, action: Any, embedding: Any) -> Any:
        x = jnp.concatenate([embedding, jax.nn.one_hot(action, ACTIONS)], axis=1)
        out = jax.nn.relu(x @ params[0]) @ params[1]
        output = mctx.RecurrentFnOutput(
            reward=out[:, WIDTH],
            discount=jnp.full(len(x), 0.99),
            prior_logits=out[:, WIDTH + 2 :],
            value=out[:, WIDTH + 1],
        )
        return output, out[:, :WIDTH]

    policy = mctx.muzero_policy if select == "puct" else mctx.gumbel_muzero_policy

    def searched(params: Any, key: Any, out: Any) -> Any:
        root = mctx.RootFnOutput(
            prior_logits=out[:, WIDTH + 2 :], value=out[:, WIDTH + 1], embedding=out[:, :WIDTH]
        )
        return policy(params, key, root, recurrent, simulations).action

    compiled = jax.jit(searched)
    root = jax.random.normal(keys[2], (batch, WIDTH + ACTIONS + 2))

    def search() -> None:
        compiled((w1, w2), keys[3], root).block_until_ready()

    search()
    return repeated(search)


def serve_mctx() -> None:
    """Answer each line "batch simulations select" on stdin with the searches per second."""
    jobs: dict[str, Callable[[], float]] = {}
    for line in sys.stdin:
        if line not in jobs:
            batch, simulations, select = line.split()
            jobs[line] = mctx_job(int(batch), int(simulations), select)
        print(jobs[line](), flush=True)


def main() -> None:
    """Measure both in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mctx-python", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    from timing import report

    server = subprocess.Popen(
        [args.mctx_python, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    rows = []
    for select in SELECT:
        for batch in BATCHES:
            for simulations in SIMULATIONS:
                ours: list[float] = []
                theirs: list[float] = []
                job = our_job(batch, simulations, select)
                for turn in range(args.rounds + 1):
                    mine = job()
                    server.stdin.write(f"{batch} {simulations} {select}\n")
                    server.stdin.flush()
                    other = float(server.stdout.readline())
                    if turn:
                        ours.append(mine * batch * simulations)
                        theirs.append(other * batch * simulations)
                ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
                rows.append(
                    {
                        "select": select, "batch": batch, "simulations": simulations,
                        "ours_per_s": median(ours), "mctx_per_s": median(theirs), "ratio": ratio,
                    }
                )  # fmt: skip
    server.stdin.close()
    server.wait()
    report(rows, args.out, rounds=args.rounds)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve_mctx()
    else:
        main()
