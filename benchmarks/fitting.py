"""Fitting throughput: member-samples per second, and the share of the machine's GEMM peak.

The sizes are those of PETS on cart-pole in mbrl-lib: 7 members, 4 hidden layers of 200, batch 256,
20,000 transitions; and beside them the defaults of `model=gaussian_ensemble`.

    python benchmarks/fitting.py --threads 2
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import torch
from planning import ACTION, OBS, pets_model
from timing import gemm_job, peak_flops, report, time_interleaved

from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.models.fitting import FitSettings, fit_members
from mbrl_cli.nets.ensemble_mlp import EnsembleMLP
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

TRANSITIONS, BATCH = 20_000, 256


def fit_job(model: Ensemble, steps: int):  # type: ignore[no-untyped-def]
    """Return a job of so many optimiser steps on random data, and its FLOP per member-sample."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(TRANSITIONS, OBS + ACTION, generator=generator)
    targets = torch.randn(TRANSITIONS, OBS + 1, generator=generator)
    parameters = [*model.net.parameters(), model.max_logvar, model.min_logvar]
    settings = FitSettings(BATCH, steps, steps, 1, 1e-3, 1e-2, bootstrap=True)
    forward = 2 * sum(weight[0].numel() for weight in model.net.weights)

    def fit() -> None:
        fit_members(
            parameters, model._likelihood_loss, model._squared_loss, (inputs, targets), None,
            model.num_members, settings, generator,
        )  # fmt: skip

    return fit, 3 * forward  # the gradients of weights and of inputs cost as much each


def main() -> None:
    """Measure, print, and write JSON where `--out` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help="optimiser steps of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args()
    set_threads_and_malloc(options.threads)
    cpu = torch.device("cpu")
    large, small = pets_model(cpu), pets_model(cpu)
    outputs = large.net.weights[-1].shape[1]
    small.num_members = 5
    small.net = EnsembleMLP(5, OBS + ACTION, outputs, torch.Generator(), [64, 64], "silu")
    for bound in (small.max_logvar, small.min_logvar):
        bound.data = bound.data[:5]
    fits = {
        "7 x 4 x 200": fit_job(large, options.steps),
        "5 x 2 x 64": fit_job(small, options.steps),
    }
    jobs = {"gemm": gemm_job(cpu), **{name: fit for name, (fit, _) in fits.items()}}
    seconds = time_interleaved(jobs, options.rounds)
    peak = peak_flops(seconds["gemm"])
    rows = []
    for (name, (_, flops)), members in zip(fits.items(), (7, 5), strict=True):
        step = median(seconds[name]) / options.steps
        rate = members * BATCH / step
        rows.append(
            {
                "network": name, "ms a step": 1e3 * step, "member-samples/s": rate,
                "GFLOP/s": rate * flops / 1e9, "share of peak": rate * flops / peak,
            }
        )  # fmt: skip
    print(f"fp32 GEMM, {options.threads} threads: {peak / 1e9:.0f} GFLOP/s")
    report(rows, options.out, rounds=options.rounds, peak_gflops=peak / 1e9)


if __name__ == "__main__":
    main()
