"""Compare targets of an ensemble on the replay of a saved run: scales, change or next observation.

    mbrl train env=dmc env.task=walker-walk agent=sac total_steps=6000 hydra.run.dir=walker
    python benchmarks/model_targets.py walker --steps 6000 --seeds 2

Each variant is fitted to the first third, two thirds and all of the steps, each time from the last
weights, as in a run. The errors are those after k imagined steps with the real actions, on
held-out episodes: of the observation in standard deviations of the data, and of the reward relative
to the reward's standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import report

from mbrl_cli.checkpoint_store import load_newest_replay
from mbrl_cli.config.saved_run import load_saved_env
from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.models.transition_normalizer import TransitionNormalizer
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.normalizer import scale_of
from mbrl_cli.types import Batch, EnvSpec

CPU = torch.device("cpu")
LENGTHS = (1, 5, 25)  # imagined steps k


class RawTargets(TransitionNormalizer):
    """Targets in the units of the environment, as in the code of MBPO; inputs are normalized."""

    def fit(self, batch: Batch) -> None:
        """Compute the statistics, then take the scales of the targets out."""
        super().fit(batch)
        for target in (self.obs_target, self.reward):
            target.mean.zero_()
            target.std.fill_(1.0)
            target.spread.fill_(1.0)


# name -> arguments of Ensemble, whether targets are normalized, weight of the reward in the loss
VARIANTS: dict[str, tuple[dict[str, Any], bool, float]] = {
    "default: change, own scales": ({}, True, 1.0),
    "raw scales": ({}, False, 1.0),
    "raw scales, nll_beta=0": ({"nll_beta": 0.0}, False, 1.0),
    "own scales, nll_beta=0": ({"nll_beta": 0.0}, True, 1.0),
    "reward weighted 10 times": ({}, True, 10.0),
    "reward alone": ({}, True, 1e4),  # as a network of its own
    "next_obs, own scales": ({"obs_target": "next_obs"}, True, 1.0),
}


def load(folder: Path, steps: int) -> list[ReplayBuffer]:
    """Return the first third, two thirds and all of the first `steps` transitions of a run."""
    stored, _ = load_newest_replay(folder)
    episode = stored["episode"][:steps]
    replays = []
    for third in (1, 2, 3):
        count = len(episode) * third // 3
        replay = ReplayBuffer(
            count, stored["obs"].shape[1], stored["action"].shape[1], holdout_ratio=0.25
        )
        for row in range(count):
            last = row + 1 == count or episode[row + 1] != episode[row]
            fields = (stored[name][row] for name in ("obs", "action", "reward", "next_obs"))
            replay.add(*fields, bool(stored["terminated"][row]), truncated=bool(last))
        replays.append(replay)
    return replays


def fitted(spec: EnvSpec, replays: list[ReplayBuffer], variant: str, seed: int) -> Ensemble:
    """Return an ensemble after one fit for each replay."""
    arguments, normalized, reward_weight = VARIANTS[variant]
    generator = torch.Generator().manual_seed(seed)
    settings = {"nll_beta": 0.5, "accuracy_horizon": 0, **arguments}
    model = Ensemble(spec, CPU, generator, head="gaussian", propagation="ts_inf", **settings)
    if not normalized:
        model.normalizer = RawTargets(spec, CPU)
    model.net.reward_weight = reward_weight
    for replay in replays:
        model.fit(replay, generator)
    return model


@torch.no_grad()
def errors(model: Ensemble, replay: ReplayBuffer, length: int) -> list[float]:
    """Return the errors of observation, of no change, and of the reward after `length` steps."""
    windows = replay.held_out_windows(length)
    windows = windows[:: max(1, len(windows) // 500)]
    start, last = replay.batch(windows[:, 0]), replay.batch(windows[:, -1])
    held_out = replay.batch(replay.split()[1])
    obs_scale, reward_scale = scale_of(held_out.obs), held_out.reward.std()
    state = model.branch({"obs": start.obs}, 1)
    generator = torch.Generator().manual_seed(0)
    for step in range(length):
        action = replay.batch(windows[:, step]).action
        imagined = model.step(state, action, generator)
        state = imagined.state
    differences = (
        (model.decode(state).mean(1) - last.next_obs) / obs_scale,
        (start.obs - last.next_obs) / obs_scale,
        (imagined.reward.mean(1) - last.reward) / reward_scale,
    )
    return [float(difference.square().mean().sqrt()) for difference in differences]


def main() -> None:
    """Print the table: means over the seeds of the fits."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    env = load_saved_env(options.run)
    replays = load(options.run, options.steps)
    table = []
    for variant in options.only:
        models = [fitted(env.spec, replays, variant, seed) for seed in range(options.seeds)]
        row: dict[str, Any] = {"variant": variant}
        for k in LENGTHS:
            means = np.mean([errors(model, replays[-1], k) for model in models], axis=0).tolist()
            row |= {f"obs {k}": means[0], f"no change {k}": means[1], f"reward {k}": means[2]}
        table.append(row)
    report(table, options.out, run=str(options.run), steps=options.steps, seeds=options.seeds)


if __name__ == "__main__":
    main()
