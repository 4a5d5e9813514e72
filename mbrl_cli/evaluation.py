"""Evaluation episodes of an agent; they do not change the agent, its replay or its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mbrl_cli.agents.base import Agent
from mbrl_cli.envs.env import Env
from mbrl_cli.seeding import child_seed, torch_generator


class Evaluation(NamedTuple):
    """Results of the evaluation episodes, one entry for each episode."""

    seeds: list[int]  # reset seed
    returns: np.ndarray  # [episodes] undiscounted
    lengths: np.ndarray  # [episodes] steps

    def metrics(self) -> dict[str, float]:
        """Return mean, standard deviation and minimum of the returns, and the mean length."""
        return {
            "eval/return": float(self.returns.mean()),
            "eval/return_std": float(self.returns.std()),
            "eval/return_min": float(self.returns.min()),
            "eval/length": float(self.lengths.mean()),
        }


def evaluate(agent: Agent, envs: Sequence[Env], seed: int) -> Evaluation:
    """Play one episode in each environment, all in parallel, without exploration.

    Args:
        agent: the agent that acts; it is not changed.
        envs: one environment for each episode.
        seed: run seed; reset seeds and the planner's random numbers depend on it alone, so every
            evaluation of a run plays the same episodes.
    """
    seeds = [child_seed(seed, "evaluation", episode) for episode in range(len(envs))]
    policy = agent.policy(envs, explore=False, generator=torch_generator(seed, "evaluation"))
    obs = np.stack([env.reset(s) for env, s in zip(envs, seeds, strict=True)])  # [B, O]
    policy.reset()
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), np.int64)
    running = np.arange(len(envs))  # indices of the episodes that have not ended
    while len(running):
        action = policy.act(obs).action  # [running, A]
        steps = [envs[i].step(a) for i, a in zip(running.tolist(), action, strict=True)]
        returns[running] += [reward for _, reward, _, _ in steps]
        lengths[running] += 1
        continues = np.array([not (terminated or truncated) for *_, terminated, truncated in steps])
        obs = np.stack([step[0] for step in steps])[
            continues
        ]  # of the running episodes [running, O]
        running = running[continues]
        if len(running) and not continues.all():
            policy.retain(np.flatnonzero(continues))
    return Evaluation(seeds, returns, lengths)
