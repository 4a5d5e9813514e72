"""Judge an agent on episodes of their own; nothing here touches the replay or the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mbrl_cli.agents.base import Agent
from mbrl_cli.envs.env import Env
from mbrl_cli.seeding import child_seed, torch_generator


class Evaluation(NamedTuple):
    """What came of the evaluation episodes, in the order of their seeds."""

    seeds: list[int]  # reset seed of each episode
    returns: np.ndarray  # [episodes] undiscounted
    lengths: np.ndarray  # [episodes] steps

    def metrics(self) -> dict[str, float]:
        """Return mean, spread and length by tag."""
        return {
            "eval/return": float(self.returns.mean()),
            "eval/return_std": float(self.returns.std()),
            "eval/return_min": float(self.returns.min()),
            "eval/length": float(self.lengths.mean()),
        }


def evaluate(agent: Agent, envs: Sequence[Env], seed: int) -> Evaluation:
    """Play one episode in each environment, all at once, without exploration.

    Args:
        agent: acts; it is not changed.
        envs: one for each episode.
        seed: run seed; reset seeds and the planner's random numbers depend on it alone, so that
            every evaluation of a run faces the same episodes.
    """
    seeds = [child_seed(seed, "evaluation", episode) for episode in range(len(envs))]
    policy = agent.policy(envs, explore=False, generator=torch_generator(seed, "evaluation"))
    obs = np.stack([env.reset(s) for env, s in zip(envs, seeds, strict=True)])  # [B, O]
    policy.reset()
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), np.int64)
    running = np.arange(len(envs))  # episodes not over yet
    while len(running):
        action = policy.act(obs).action
        steps = [envs[row].step(a) for row, a in zip(running.tolist(), action, strict=True)]
        returns[running] += [reward for _, reward, _, _ in steps]
        lengths[running] += 1
        going = np.array([not (terminated or truncated) for *_, terminated, truncated in steps])
        obs = np.stack([step[0] for step in steps])[going]
        running = running[going]
        if len(running) and not going.all():
            policy.keep(np.flatnonzero(going))
    return Evaluation(seeds, returns, lengths)


def optimism_gap(
    predicted: Sequence[float], rewards: Sequence[float], terminated: bool, horizon: int,
    discount: float,
) -> float | None:  # fmt: skip
    """Return the mean of (return the planner predicted - return that came true) over an episode.

    Both cover the same `horizon` steps, discounted alike. Steps whose horizon reaches past the
    end of the data are left out, unless the task itself ended there (nothing came after).
    None if no step is left.

    Args:
        predicted: predicted return at each step; NaN where nothing was predicted.
        rewards: reward of each step.
        terminated: whether the episode ended by termination.
        horizon: steps that a prediction covers.
        discount: discount per step.
    """
    usable = len(rewards) if terminated else len(rewards) - horizon + 1
    if usable <= 0 or not predicted:
        return None
    padded = np.concatenate([np.asarray(rewards, np.float64), np.zeros(horizon)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, horizon)[:usable]
    came_true = windows @ discount ** np.arange(horizon)
    gaps = np.asarray(predicted[:usable], np.float64) - came_true
    gaps = gaps[~np.isnan(gaps)]
    return float(gaps.mean()) if len(gaps) else None
