"""Fitting throughput: member-samples per second, and the fraction of the machine's GEMM peak.

A member-sample is one transition of one member's minibatch. The sizes are those of PETS on
cart-pole in mbrl-lib (7 members, 4 hidden layers of 200, batch 256, 20,000 transitions) and the
defaults of `model=gaussian_ensemble`.

    python benchmarks/fitting.py --threads 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from planning import ACTION, HIDDEN, OBS, cartpole_spec
from timing import gemm_job, peak_flops, report, time_interleaved

from mbrl_cli.models.dynamics_net import DynamicsNet
from mbrl_cli.models.fitting import FitSettings, fit_members
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

TRANSITIONS, BATCH = 20_000, 256
NETWORKS = {"7 x 4 x 200": (7, HIDDEN), "5 x 2 x 64": (5, [64, 64])}  # members, hidden layers


def make_net(num_members: int, hidden: list[int]) -> DynamicsNet:
    """Return Gaussian networks for cart-pole."""
    return DynamicsNet(
        cartpole_spec(), num_members, hidden=hidden, activation="silu", gaussian=True,
        nll_beta=0.0, generator=torch.Generator(), device=torch.device("cpu"),
    )  # fmt: skip


def fit_job(net: DynamicsNet, steps: int) -> Callable[[], object]:
    """Return a job of `steps` optimiser steps on random data."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(TRANSITIONS, OBS + ACTION, generator=generator)
    targets = torch.randn(TRANSITIONS, OBS + 1, generator=generator)
    settings = FitSettings(
        batch_size=BATCH, max_steps=steps, check_every=steps, patience=1, learning_rate=1e-3,
        weight_decay=1e-2, fresh_bootstrap=True,
    )  # fmt: skip
    return lambda: fit_members(
        net.trained_parameters(),
        training_loss=net.training_loss,
        selection_loss=net.squared_error_loss,
        train=(inputs, targets),
        holdout=None,
        num_members=net.num_members,
        settings=settings,
        generator=generator,
    )


def flops_per_sample(net: DynamicsNet) -> int:
    """Return the FLOP of one member-sample: a forward pass, and a backward pass of twice that."""
    forward = 2 * sum(weight[0].numel() for weight in net.mlp.weights)
    return 3 * forward


def main() -> None:
    """Measure and print; write JSON to `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help="optimiser steps per measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    set_threads_and_malloc(options.threads)
    nets = {name: make_net(*sizes) for name, sizes in NETWORKS.items()}
    jobs = {name: fit_job(net, options.steps) for name, net in nets.items()}
    seconds = time_interleaved({"gemm": gemm_job(torch.device("cpu")), **jobs}, options.rounds)
    peak = peak_flops(seconds["gemm"])
    rows = []
    for name, net in nets.items():
        step = median(seconds[name]) / options.steps
        rate = net.num_members * BATCH / step
        flops = rate * flops_per_sample(net)
        rows.append(
            {
                "network": name, "ms a step": 1e3 * step, "member-samples/s": rate,
                "GFLOP/s": flops / 1e9, "share of peak": flops / peak,
            }
        )  # fmt: skip
    print(f"fp32 GEMM, {options.threads} threads: {peak / 1e9:.0f} GFLOP/s")
    report(rows, options.out, rounds=options.rounds, peak_gflops=peak / 1e9)


if __name__ == "__main__":
    main()
