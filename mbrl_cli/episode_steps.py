"""Steps of a policy in several environments at once, one episode in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mbrl_cli.agents.base import Decision, Policy
from mbrl_cli.divergence import refuse_nonfinite_action
from mbrl_cli.envs.env import Env
from mbrl_cli.signals import raise_if_stop_requested


class EpisodeSteps(NamedTuple):
    """One step of each of the n episodes that had not ended."""

    episodes: np.ndarray  # [n] indices of their environments
    obs: np.ndarray  # [n, O] before the step
    decision: Decision  # n rows
    next_obs: np.ndarray  # [n, O]
    reward: np.ndarray  # [n] float64
    terminated: np.ndarray  # [n] bool
    truncated: np.ndarray  # [n] bool


def episode_steps(
    policy: Policy, envs: Sequence[Env], obs: np.ndarray, advice: str
) -> Iterator[EpisodeSteps]:
    """Take steps until the episodes of all environments have ended.

    Args:
        policy: acts in these environments; its episodes have just been started.
        envs: have just been reset.
        obs: their first observations [B, O].
        advice: what to change if an action is not finite.
    """
    running = np.arange(len(envs))  # indices of the episodes that have not ended
    while len(running):
        decision = policy.act(obs)
        refuse_nonfinite_action(decision.action, advice)
        steps = [envs[i].step(a) for i, a in zip(running.tolist(), decision.action, strict=True)]
        raise_if_stop_requested()
        next_obs = np.stack([step[0] for step in steps])  # [running, O]
        reward = np.array([step[1] for step in steps])
        terminated, truncated = (np.array([step[k] for step in steps], bool) for k in (2, 3))
        yield EpisodeSteps(running, obs, decision, next_obs, reward, terminated, truncated)
        continues = ~(terminated | truncated)
        obs, running = next_obs[continues], running[continues]
        if len(running) and not continues.all():
            policy.retain(np.flatnonzero(continues))
