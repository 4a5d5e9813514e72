"""Evaluation episodes of an agent; they do not change the agent, its replay or its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from mbrl_cli.agents.base import Agent
from mbrl_cli.divergence import refuse_nonfinite_action
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.episode_video import EpisodeVideo
from mbrl_cli.seeding import child_seed, torch_generator
from mbrl_cli.signals import raise_if_stop_requested

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
    running = np.arange(len(envs))  # indices of the episodes that have not ended
    _record(video, envs, running, played)
    while len(running):
        action = policy.act(obs).action  # [running, A]
        refuse_nonfinite_action(action, agent.divergence_advice)
        steps = [envs[i].step(a) for i, a in zip(running.tolist(), action, strict=True)]
        raise_if_stop_requested()
        _record(video, envs, running, played)
        returns[running] += [reward for _, reward, _, _ in steps]
        lengths[running] += 1
        continues = np.array([not (terminated or truncated) for *_, terminated, truncated in steps])
        obs = np.stack([step[0] for step in steps])[
            continues
        ]  # of the running episodes [running, O]
        running = running[continues]
        if len(running) and not continues.all():
            policy.retain(np.flatnonzero(continues))
        if report is not None:
            report(played + len(envs) - len(running), len(running), int(lengths.max()))
    return returns, lengths


def _record(
    video: EpisodeVideo | None, envs: Sequence[Env], running: np.ndarray, played: int
) -> None:
    """Add the images of the running episodes to the video; `played` episodes have ended before."""
    if video is not None:
        for i in running.tolist():
            video.record(played + i, envs[i])
