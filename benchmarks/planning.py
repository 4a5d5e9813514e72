"""Planning throughput: model steps per second, and the fraction of the machine's GEMM peak.

The sizes are those of PETS on cart-pole in mbrl-lib: 7 members with 5 elites, 4 hidden layers of
200, 20 particles, 350 plans, 5 iterations, horizon 15. That is 525,000 model steps per decision.

    python benchmarks/planning.py --threads 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from timing import gemm_job, peak_flops, report, synchronize, time_interleaved
from torch import Tensor

from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.planners.cem import CEM
from mbrl_cli.planners.mppi import MPPI
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.trajectory import TrajectoryPlanner
from mbrl_cli.planners.world import World
from mbrl_cli.threads_and_malloc import set_threads_and_malloc
from mbrl_cli.types import ActionSpec, EnvSpec

OBS, ACTION, HIDDEN, PARTICLES, HORIZON = 4, 1, [200] * 4, 20, 15
SIZES = [OBS + ACTION, *HIDDEN, 2 * OBS]
FLOPS_PER_STEP = sum(
    2 * a * b for a, b in pairwise(SIZES)
)  # without the linear path, as in mbrl-lib's networks


def cartpole_spec() -> EnvSpec:
    """Return a spec with the sizes and known functions of continuous cart-pole."""

    def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return next_obs[..., 2].cos()

    def termination(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return (next_obs[..., 0].abs() > 2.4) | (next_obs[..., 2].abs() > 0.21)

    return EnvSpec(
        id="cartpole",
        obs_dim=OBS,
        obs_integer=(False,) * OBS,
        action=ActionSpec("continuous", ACTION),
        max_episode_steps=None,
        known_reward=reward,
        known_termination=termination,
    )


def pets_model(device: torch.device) -> Ensemble:
    """Return the untrained ensemble: the time of a plan does not depend on the weights."""
    return Ensemble(
        cartpole_spec(), device, torch.Generator(device), head="gaussian", num_members=7,
        num_elites=5, propagation="ts_inf", num_particles=PARTICLES, hidden=HIDDEN,
    )  # fmt: skip


def plan_job(model: Ensemble, planner: TrajectoryPlanner) -> Callable[[], object]:
    """Return a job that plans one decision."""
    generator = torch.Generator(model.device).manual_seed(0)
    world = World.of_model(model, discount=1.0, generator=generator)
    state = {"obs": torch.zeros(1, OBS, device=model.device)}
    memory = planner.initial_memory(1)

    @torch.inference_mode()
    def decide() -> None:
        planner.plan(world, state, memory, generator)
        synchronize(model.device)

    return decide


def main() -> None:
    """Measure and print; write JSON to `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    set_threads_and_malloc(options.threads)
    model = pets_model(torch.device(options.device))
    common: dict[str, Any] = {
        "action": model.spec.action, "device": model.device, "horizon": HORIZON,
        "population": 350, "noise_beta": 0.0, "risk": None, "replan_every": 1, "max_plan_ms": None,
    }  # fmt: skip
    elites: dict[str, Any] = {
        "elite_ratio": 0.1, "iterations": 5, "initial_spread": 0.5, "min_spread": 0.05,
        "momentum": 0.1,
    }  # fmt: skip
    cem = CEM(**common, **elites, population_decay=1.0, kept_ratio=0.0, try_mean=False)
    improved = {**common, "noise_beta": 2.0}
    icem = CEM(**improved, **elites, population_decay=1.3, kept_ratio=0.3, try_mean=True)
    mppi = MPPI(**common, iterations=5, spread=0.5, temperature=0.3)
    planners: dict[str, tuple[TrajectoryPlanner, int]] = {
        "cem": (cem, sum(cem.populations)),
        "icem": (icem, sum(icem.populations)),
        "mppi": (mppi, 5 * mppi.population),
        "random_shooting": (RandomShooting(**common), 350),
    }
    jobs = {name: plan_job(model, planner) for name, (planner, _) in planners.items()}
    seconds = time_interleaved({"gemm": gemm_job(model.device), **jobs}, options.rounds)
    peak = peak_flops(seconds["gemm"])
    rows = []
    for name, (_, plans) in planners.items():
        steps, time_taken = plans * HORIZON * PARTICLES, median(seconds[name])
        rate = steps / time_taken
        rows.append(
            {
                "planner": name, "model steps": steps, "ms": 1e3 * time_taken,
                "steps/s": rate, "GFLOP/s": rate * FLOPS_PER_STEP / 1e9,
                "share of peak": rate * FLOPS_PER_STEP / peak,
            }
        )  # fmt: skip
    print(f"fp32 GEMM of {options.device}, {options.threads} threads: {peak / 1e9:.0f} GFLOP/s")
    report(rows, options.out, rounds=options.rounds, peak_gflops=peak / 1e9, device=options.device)


if __name__ == "__main__":
    main()
