"""Gradient steps of SAC per second, compared with another library in one process.

Both learn from 20,000 random transitions in their own replay, with the same batch and network
sizes. The other library is stable-baselines3 (measured with 2.9.2), or mbrl-lib (SAC of its MBPO;
0.2.0, installed without its dependencies but with termcolor). Neither is a dependency of this
package. The memory settings of `set_threads_and_malloc` apply to both; `--plain-memory` leaves them
out. The matrix products of an update are timed as well: an upper bound for any implementation in
torch.
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import torch
from timing import report, time_interleaved

from mbrl_cli.agents.sac import SAC
from mbrl_cli.nets.mixed_precision import Precision
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.threads_and_malloc import set_threads_and_malloc
from mbrl_cli.types import ActionSpec, EnvSpec

ROWS = 20_000
Transitions = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def transitions(obs_dim: int, action_dim: int) -> Transitions:
    """Return random transitions: obs, action, reward and next obs, each with ROWS rows."""
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, ROWS, obs_dim)).astype(np.float32)
    action = rng.uniform(-1, 1, (ROWS, action_dim)).astype(np.float32)
    return obs, action, rng.normal(size=ROWS).astype(np.float32), next_obs


def ours(
    data: Transitions, hidden: list[int], batch_size: int, *, precision: Precision
) -> Callable[[int], Any]:
    """Return a function that takes a number of gradient steps with this package's SAC."""
    obs_dim, action_dim = data[0].shape[1], data[1].shape[1]
    spec = EnvSpec("toy", obs_dim, (False,) * obs_dim, ActionSpec("continuous", action_dim), None)
    generator = torch.Generator().manual_seed(0)
    agent = SAC(
        spec, torch.device("cpu"), generator, hidden=hidden, batch_size=batch_size,
        precision=precision,
    )  # fmt: skip
    replay = ReplayBuffer(ROWS, obs_dim, action_dim)
    for obs, action, reward, next_obs in zip(*data, strict=True):
        replay.add(obs, action, float(reward), next_obs, False, False)

    def learn(updates: int) -> None:
        for _ in range(updates):  # one at a time, as in a run with one update per step
            agent.learn(agent.sample_batches(replay, 1, batch_size), batch_size)

    return learn


def stable_baselines3(
    data: Transitions, hidden: list[int], batch_size: int
) -> Callable[[int], Any]:
    """Return the same for stable-baselines3 with its default settings."""
    from stable_baselines3 import SAC as PeerSAC
    from stable_baselines3.common.logger import configure

    class SpacesOnly(gym.Env[np.ndarray, np.ndarray]):  # it is never stepped
        observation_space = gym.spaces.Box(-1.0, 1.0, data[0].shape[1:], np.float32)
        action_space = gym.spaces.Box(-1.0, 1.0, data[1].shape[1:], np.float32)

    agent = PeerSAC(
        "MlpPolicy", SpacesOnly(), buffer_size=ROWS, batch_size=batch_size, device="cpu",
        policy_kwargs={"net_arch": hidden},
    )  # fmt: skip
    agent.set_logger(configure(None, []))
    for obs, action, reward, next_obs in zip(*data, strict=True):
        agent.replay_buffer.add(obs, next_obs, action, reward, np.zeros(1), [{}])
    return lambda updates: agent.train(updates, batch_size)


def mbrl_lib(data: Transitions, hidden: list[int], batch_size: int) -> Callable[[int], Any]:
    """Return the same for mbrl-lib with the settings of its MBPO on the cart-pole."""
    from mbrl.third_party.pytorch_sac_pranz24.sac import SAC as PeerSAC
    from mbrl.util.replay_buffer import ReplayBuffer as PeerReplay

    if hidden != hidden[:1] * 2:
        raise SystemExit(f"--hidden {hidden}: mbrl-lib has two layers of one width")
    settings = SimpleNamespace(
        gamma=0.99, tau=0.005, alpha=0.2, policy="Gaussian", target_update_interval=4,
        automatic_entropy_tuning=True, target_entropy=-0.05, hidden_size=hidden[0], lr=3e-4,
        batch_size=batch_size, device=torch.device("cpu"),
    )  # fmt: skip
    obs, action, reward, next_obs = data
    space = gym.spaces.Box(-1.0, 1.0, action.shape[1:], np.float32)
    agent = PeerSAC(obs.shape[1], space, settings)
    replay = PeerReplay(ROWS, obs.shape[1:], action.shape[1:], rng=np.random.default_rng(0))
    ends = np.zeros(ROWS, bool)
    replay.add_batch(obs, action, next_obs, reward, ends, ends)

    def learn(updates: int) -> None:
        for update in range(updates):
            agent.update_parameters(replay, batch_size, update, reverse_mask=True)

    return learn


def products_alone(data: Transitions, hidden: list[int], batch_size: int) -> Callable[[int], Any]:
    """Return a function that computes only the matrix products of a number of gradient steps.

    These are the forward and backward passes of a batch through the actor and both critics. All
    memory is allocated beforehand. A last layer with one output needs no matrix product; see
    `StackedMLP`.
    """
    obs_dim, action_dim = data[0].shape[1], data[1].shape[1]

    def sizes(inputs: int, outputs: int) -> list[tuple[int, int]]:
        return [pair for pair in pairwise([inputs, *hidden, outputs]) if pair[1] > 1]

    def products(nets: int, layers: list[tuple[int, int]], kind: str) -> list[Callable[[], Any]]:
        """Return the products of all layers for the outputs or for the gradients of one kind.

        Args:
            nets: number of networks.
            layers: sizes of the layers (in, out).
            kind: "forward", or the gradients by "weight" or by "input" (without the first layer).
        """
        calls: list[Callable[[], Any]] = []
        for number, (fan_in, fan_out) in enumerate(layers):
            x, y = (torch.randn(nets, batch_size, fan) for fan in (fan_in, fan_out))
            weight = torch.randn(nets, fan_in, fan_out)
            if kind == "forward":
                calls.append(partial(torch.bmm, x, weight, out=y))
            elif kind == "weight":
                calls.append(partial(torch.bmm, x.mT, y, out=weight))
            elif number:
                calls.append(partial(torch.bmm, y, weight.mT, out=x))
        return calls

    actor, critic = sizes(obs_dim, 2 * action_dim), sizes(obs_dim + action_dim, 1)
    jobs = [
        *products(1, actor, "forward"), *products(2, critic, "forward"),  # TD targets
        *products(2, critic, "forward"), *products(2, critic, "weight"),
        *products(2, critic, "input"),  # critic loss
        *products(1, actor, "forward"), *products(2, critic, "forward"),
        *products(2, critic, "input"), *products(1, actor, "weight"),
        *products(1, actor, "input"),  # actor loss
    ]  # fmt: skip

    def multiply(updates: int) -> None:
        for _ in range(updates):
            for job in jobs:
                job()

    return multiply


PEERS = {"stable-baselines3": stable_baselines3, "mbrl-lib": mbrl_lib}


def main() -> None:
    """Measure, print, and write JSON where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", choices=PEERS, default="stable-baselines3")
    parser.add_argument("--obs", type=int, default=17)
    parser.add_argument("--actions", type=int, default=6)
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--plain-memory", action="store_true", help="without malloc settings")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=60, help="gradient steps per round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.plain_memory:
        torch.set_num_threads(arguments.threads)
    else:
        set_threads_and_malloc(arguments.threads)
    data = transitions(arguments.obs, arguments.actions)
    peer = PEERS[arguments.peer]
    sides = {
        "ours": partial(ours, precision=arguments.precision),
        arguments.peer: peer,
        "products alone": products_alone,
    }
    learners = {
        name: make(data, arguments.hidden, arguments.batch_size) for name, make in sides.items()
    }
    jobs = {name: partial(learn, arguments.updates) for name, learn in learners.items()}
    seconds = time_interleaved(jobs, arguments.rounds)
    rates = {name: [arguments.updates / time for time in times] for name, times in seconds.items()}
    rows = [
        {"implementation": name, "gradient steps/s": median(values), "best round": max(values)}
        for name, values in rates.items()
    ]
    ratio, bound = (
        median(rates[name]) / median(rates[arguments.peer]) for name in ("ours", "products alone")
    )
    report(rows, arguments.out, ratio=ratio, rates=rates)
    print(f"ratio of the medians: {ratio:.2f}; of the products alone: {bound:.2f}")


if __name__ == "__main__":
    main()
