"""Gradient steps of Dreamer per second: ours and sheeprl's DreamerV3, taking turns.

The small size: observation 4, 2 actions, deter 128, stoch 8 x 8, hidden 64, one layer, 255 bins,
imagination of 15 steps from every state of the sequences. A gradient step is everything: sampling
sequences, world model, imagination, actor and critic. sheeprl (measured with 0.8.4), which is no
dependency of ours, takes part where it is installed. It is given no metrics to gather; ours are on.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from hydra import compose, initialize_config_dir, initialize_config_module

from mbrl_cli.config.build import build
from mbrl_cli.config.groups import config_dir
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

LENGTHS, BATCH, ROWS, EPISODE, BINS = (32, 64), 16, 4000, 40, 255


def ours(more: list[str], length: int) -> Callable[[], None]:
    """Return a function that takes a gradient step; `more` are words of the command line."""
    words = [
        "agent=dreamer", "env=cartpole", "env.termination=learned", "device=cpu",
        f"model.batch_size={BATCH}", f"model.sequence_length={length}", f"model.num_bins={BINS}",
        f"agent.actor_critic.num_bins={BINS}", f"agent.actor_critic.rollouts={BATCH * length}",
        *more,
    ]  # fmt: skip
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        agent = build(compose("train", overrides=words)).agent
    replay, rng = ReplayBuffer(ROWS, 4, 2), np.random.default_rng(0)
    for step in range(ROWS):
        obs, next_obs = rng.normal(size=(2, 4))
        end = step % EPISODE == EPISODE - 1
        replay.add(obs, np.eye(2)[rng.integers(2)], 1.0, next_obs, end, False)
    return lambda: agent.learn(replay)


def peer(length: int) -> Callable[[], None]:
    """Return the same of sheeprl: what its `main` does for a gradient step."""
    from hydra.utils import instantiate
    from lightning import Fabric
    from omegaconf import OmegaConf
    from sheeprl.algos.dreamer_v2.utils import sample_batches
    from sheeprl.algos.dreamer_v3.agent import build_agent
    from sheeprl.algos.dreamer_v3.dreamer_v3 import train
    from sheeprl.algos.dreamer_v3.utils import Moments
    from sheeprl.data.buffers import EnvIndependentReplayBuffer, SequentialReplayBuffer
    from sheeprl.utils.metric import MetricAggregator
    from sheeprl.utils.utils import dotdict

    words = [
        "exp=dreamer_v3", "algo=dreamer_v3_XS", "env=gym", "env.id=CartPole-v1",
        "algo.cnn_keys.encoder=[]", "algo.cnn_keys.decoder=[]", "algo.mlp_keys.encoder=[state]",
        "algo.mlp_keys.decoder=[state]", "algo.dense_units=64",
        "algo.world_model.recurrent_model.recurrent_state_size=128",
        "algo.world_model.discrete_size=8", "algo.world_model.stochastic_size=8",
        "algo.world_model.transition_model.hidden_size=64",
        "algo.world_model.representation_model.hidden_size=64",
        f"algo.per_rank_batch_size={BATCH}", f"algo.per_rank_sequence_length={length}",
    ]  # fmt: skip
    with initialize_config_module("sheeprl.configs", version_base="1.3"):
        config = dotdict(OmegaConf.to_container(compose("config", words), resolve=True))
    MetricAggregator.disabled = True
    fabric = Fabric(accelerator="cpu", devices=1)
    spaces = gym.spaces.Dict({"state": gym.spaces.Box(-1.0, 1.0, (4,), np.float32)})
    world_model, actor, critic, slow_critic, _ = build_agent(fabric, (2,), False, config, spaces)
    parts = config.algo.world_model, config.algo.actor, config.algo.critic
    nets = world_model, actor, critic
    optimisers = fabric.setup_optimizers(
        *(
            instantiate(part.optimizer, params=net.parameters(), _convert_="all")
            for part, net in zip(parts, nets, strict=True)
        )
    )
    usual = config.algo.actor.moments
    moments = Moments(usual.decay, usual.max, usual.percentile.low, usual.percentile.high)
    replay = EnvIndependentReplayBuffer(ROWS, buffer_cls=SequentialReplayBuffer, seed=0)
    rng = np.random.default_rng(0)
    for step in range(ROWS):
        row: dict[str, Any] = {
            "state": rng.normal(size=4), "actions": np.eye(2)[rng.integers(2)], "rewards": [1.0],
            "terminated": [step % EPISODE == EPISODE - 1], "truncated": [0.0],
            "is_first": [step % EPISODE == 0],
        }  # fmt: skip
        replay.add({key: np.array([[value]], np.float32) for key, value in row.items()})
    rate = config.algo.critic.tau

    def learn() -> None:
        (batch,) = sample_batches(fabric, config, replay, 1)
        for fast, slow in zip(critic.module.parameters(), slow_critic.parameters(), strict=True):
            slow.data.copy_(rate * fast.data + (1 - rate) * slow.data)
        train(fabric, *nets, slow_critic, *optimisers, batch, None, config, False, (2,), moments)

    return learn


def main() -> None:
    """Measure turns with sequences of either length, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=10, help="gradient steps of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="ours with it, as a third side")
    parser.add_argument("--compile", action="store_true", help="ours with it, as a third side")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    register_resolvers()
    sides = {"ours": partial(ours, [])}
    if arguments.bfloat16:
        sides["ours, bfloat16"] = partial(ours, ["model.precision=bfloat16"])
    if arguments.compile:
        sides["ours, compiled"] = partial(ours, ["model.compile=true"])
    if importlib.util.find_spec("sheeprl"):
        sides["sheeprl"] = peer
    learners = {(length, name): make(length) for length in LENGTHS for name, make in sides.items()}
    set_threads_and_malloc(arguments.threads)
    rates: dict[tuple[int, str], list[float]] = {key: [] for key in learners}
    for turn in range(arguments.rounds + 1):
        for key, learn in learners.items():
            start = time.perf_counter()
            for _ in range(arguments.updates):
                learn()
            if turn:  # the first turn warms up
                rates[key].append(arguments.updates / (time.perf_counter() - start))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    for (length, name), rate in medians.items():
        best = max(rates[length, name])
        print(f"{BATCH} x {length}, {name}: {rate:.2f} gradient steps/s, best turn {best:.2f}")
        if name != "ours":
            print(f"ratio of the medians, ours to it: {medians[length, 'ours'] / rate:.2f}")
    if arguments.out:
        named = {f"{BATCH} x {length}, {name}": values for (length, name), values in rates.items()}
        arguments.out.write_text(json.dumps(named) + "\n")


if __name__ == "__main__":
    main()
