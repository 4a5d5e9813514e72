"""Gradient steps of Dreamer per second, at the small size that sheeprl's DreamerV3 was measured at.

Observation 4, 2 actions, deter 128, stoch 8 x 8, hidden 64, one layer, imagination 15 from every
state of the sequences. A gradient step is everything: sampling sequences, world model, imagination,
actor and critic. On this kind of machine sheeprl 0.8.4 takes 3.5 to 4.7 of them a second with
16 sequences of 32, and 1.8 to 2.4 with 16 of 64.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from mbrl_cli.config.app import register_resolvers
from mbrl_cli.config.build import build
from mbrl_cli.config.groups import config_dir
from mbrl_cli.replay.buffer import ReplayBuffer

PEER = {32: (3.5, 4.7), 64: (1.8, 2.4)}
BATCH, ROWS = 16, 4000


def filled() -> ReplayBuffer:
    """Return random transitions of the size of CartPole's, in episodes of 40."""
    replay, rng = ReplayBuffer(ROWS, 4, 2), np.random.default_rng(0)
    for step in range(ROWS):
        obs, next_obs = rng.normal(size=(2, 4))
        end = step % 40 == 39
        replay.add(obs, np.eye(2)[rng.integers(2)], 1.0, next_obs, end, False)
    return replay


def main() -> None:
    """Measure turns with sequences of either length, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=10, help="gradient steps of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    from hydra import compose, initialize_config_dir

    register_resolvers()
    replay, agents = filled(), {}
    for length in PEER:
        words = [
            "agent=dreamer", "env=cartpole", "env.termination=learned", "device=cpu",
            f"model.batch_size={BATCH}", f"model.sequence_length={length}",
            f"agent.actor_critic.rollouts={BATCH * length}",
        ]  # fmt: skip
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            agents[length] = build(compose("train", overrides=words)).agent
    torch.set_num_threads(arguments.threads)
    rates: dict[int, list[float]] = {length: [] for length in PEER}
    for turn in range(arguments.rounds + 1):
        for length, agent in agents.items():
            start = time.perf_counter()
            for _ in range(arguments.updates):
                agent.learn(replay)
            if turn:  # the first turn warms up
                rates[length].append(arguments.updates / (time.perf_counter() - start))
    for length, (low, high) in PEER.items():
        rate = statistics.median(rates[length])
        print(
            f"{BATCH} x {length}: {rate:.1f} gradient steps/s, best {max(rates[length]):.1f}; "
            f"sheeprl {low}-{high}: {rate / high:.1f} to {rate / low:.1f} times as many"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(rates) + "\n")


if __name__ == "__main__":
    main()
