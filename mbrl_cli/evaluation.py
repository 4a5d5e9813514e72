"""Evaluation episodes of an agent; they do not change the agent, its replay or its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from mbrl_cli.agents.base import Agent
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.episode_steps import episode_steps
from mbrl_cli.episode_video import EpisodeVideo
from mbrl_cli.seeding import child_seed, torch_generator

# Called after each step of all running episodes: the number of episodes that have ended, of those
# that go on, and of the steps that these have taken.
Report = Callable[[int, int, int], None]


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


def evaluate(
    agent: Agent,
    envs: Sequence[Env],
    seed: int,
    episodes: int | None = None,
    report: Report | None = None,
    video: EpisodeVideo | None = None,
) -> Evaluation:
    """Play episodes without exploration, as many in parallel as there are environments.

    Args:
        agent: the agent that acts; it is not changed.
        envs: the environments; at least one.
        seed: run seed; reset seeds and the planner's random numbers depend on it alone, so every
            evaluation of a run plays the same episodes.
        episodes: number of episodes; None: one for each environment.
        report: shows the progress.
        video: records the images of episodes.
    """
    episodes = len(envs) if episodes is None else episodes
    seeds = [child_seed(seed, "evaluation", episode) for episode in range(episodes)]
    groups = []
    with restored_global_generators():
        for group, start in enumerate(range(0, episodes, len(envs))):
            name = f"evaluation {group}" if group else "evaluation"
            generator = torch_generator(seed, name)
            group_seeds = seeds[start : start + len(envs)]
            group_envs = envs[: len(group_seeds)]
            groups.append(_play(agent, group_envs, group_seeds, generator, start, report, video))
    returns, lengths = (np.concatenate(parts) for parts in zip(*groups, strict=True))
    return Evaluation(seeds, returns, lengths)


def _play(
    agent: Agent,
    envs: Sequence[Env],
    seeds: list[int],
    generator: torch.Generator,
    played: int,
    report: Report | None,
    video: EpisodeVideo | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Play one episode in each environment, in parallel; return returns and lengths [B].

    `played` is the number of episodes that have ended before.
    """
    policy = agent.policy(envs, explore=False, generator=generator)
    obs = np.stack([env.reset(s) for env, s in zip(envs, seeds, strict=True)])  # [B, O]
    policy.reset()
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), np.int64)
    _record(video, envs, np.arange(len(envs)), played)
    for step in episode_steps(policy, envs, obs, agent.divergence_advice):
        _record(video, envs, step.episodes, played)
        returns[step.episodes] += step.reward
        lengths[step.episodes] += 1
        if report is not None:
            running = int((~(step.terminated | step.truncated)).sum())
            report(played + len(envs) - running, running, int(lengths.max()))
    return returns, lengths


def _record(
    video: EpisodeVideo | None, envs: Sequence[Env], running: np.ndarray, played: int
) -> None:
    """Add the images of the running episodes to the video; `played` episodes have ended before."""
    if video is not None:
        for i in running.tolist():
            video.record(played + i, envs[i])
