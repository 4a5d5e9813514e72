"""What the bootstrap samples of an ensemble do to its disagreement, coverage and error.

Each saved run's transitions are replayed in their order. The model of the run is fitted as often as
in the run, from its last weights, once with each value of `model.bootstrap`. It is measured on data
that it was not trained on:

- next: after each fit, the transitions up to the next fit; the mean over all fits.
- others: after the last fit, all transitions of the other runs, with another seed.

    python benchmarks/bootstrap_samples.py RUN RUN ... --out bootstrap.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import mbrl_cli as mbrl
from mbrl_cli.checkpoint_store import load_newest_replay
from mbrl_cli.config.saved_run import load_saved_env
from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.reports.student_t import t_quantile
from mbrl_cli.seeding import torch_generator
from mbrl_cli.types import Batch

CPU = torch.device("cpu")
VARIANTS = ("fresh", "persistent", "none")
Z_90 = 1.6449  # half width of a 90 % interval of a Gaussian, in standard deviations
MEASURES = ("error", "disagreement", "rank_correlation", "coverage_90")


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value."""
    return values.argsort().argsort()


@torch.no_grad()
def measure(model: Ensemble, batch: Batch) -> dict[str, float]:
    """Return the measures of one-step predictions; errors are in standard deviations of changes."""
    prediction = model.predict(batch.obs, batch.action)
    difference = (prediction.mean - batch.next_obs).abs()
    error = (difference / model.normalizer.change.std).mean(1).numpy()  # [n]
    disagreement = prediction.disagreement.numpy()
    inside = (difference <= Z_90 * prediction.std).float()
    return {
        "error": float(error.mean()),
        "disagreement": float(disagreement.mean()),
        "rank_correlation": float(np.corrcoef(ranks(disagreement), ranks(error))[0, 1]),
        "coverage_90": float(inside.mean()),
    }


def transitions(folder: Path) -> dict[str, np.ndarray]:
    """Return the transitions of a run by field."""
    return load_newest_replay(folder)[0]


def as_batch(data: dict[str, np.ndarray], rows: slice) -> Batch:
    """Return transitions as tensors."""
    names = ("obs", "action", "reward", "next_obs", "terminated")
    return Batch(*(torch.from_numpy(data[name][rows]).float() for name in names))


def replay_run(
    folder: Path, others: list[Path], variant: str, fit_every: int | None
) -> dict[str, dict[str, float]]:
    """Fit the model of a run along its transitions; return the measures by data set."""
    run = mbrl.load_run(folder)
    spec = load_saved_env(folder, None, False, None).spec
    arguments = {key: value for key, value in run.config["model"].items() if key != "_target_"}
    arguments |= {"bootstrap": variant, "accuracy_horizon": 0}
    model = Ensemble(spec, CPU, torch_generator(run.seed, "model"), **arguments)
    generator = torch_generator(run.seed, "fit")
    data = transitions(folder)
    replay = ReplayBuffer(len(data["obs"]), spec.obs_dim, spec.action.dim)
    every = fit_every or run.config["agent"]["fit_every"]
    after_fits = []
    for row in range(len(data["obs"])):
        fields = [data[name][row] for name in ("obs", "action", "reward", "next_obs", "terminated")]
        ends = row + 1 < len(data["obs"]) and data["episode"][row + 1] != data["episode"][row]
        replay.add(*fields, truncated=bool(ends))
        added = row + 1
        if added >= run.config["prefill_steps"] and added % every == 0:
            model.fit(replay, generator)
            if added + 1 < len(data["obs"]):
                after_fits.append(measure(model, as_batch(data, slice(added, added + every))))
    other = [measure(model, as_batch(transitions(path), slice(None))) for path in others]
    return {"next": mean_of(after_fits), "others": mean_of(other)}


def mean_of(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each measure."""
    return {name: float(np.mean([row[name] for row in measured])) for name in MEASURES}


def main() -> None:
    """Print one row for each data set and value of `model.bootstrap`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of one environment")
    parser.add_argument("--fit-every", type=int, help="steps between fits; default: as in the run")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured = {
        variant: [
            replay_run(
                run, [path for path in options.runs if path != run], variant, options.fit_every
            )
            for run in options.runs
        ]
        for variant in VARIANTS
    }
    if options.out:
        options.out.write_text(json.dumps(measured, indent=1))
    print(f"| data | bootstrap | {' | '.join(MEASURES)} |")
    for data in ("next", "others"):
        for variant in VARIANTS:
            cells = []
            for name in MEASURES:
                values = np.array([run[data][name] for run in measured[variant]])
                less = values - [run[data][name] for run in measured["fresh"]]
                cell = f"{values.mean():.4f}"
                if variant != "fresh" and len(values) > 1:  # paired difference to fresh
                    half = (
                        t_quantile(0.975, len(values) - 1) * less.std(ddof=1) / len(values) ** 0.5
                    )
                    cell += f" ({less.mean():+.4f} ± {half:.4f})"
                cells.append(cell)
            print(f"| {data} | {variant} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
