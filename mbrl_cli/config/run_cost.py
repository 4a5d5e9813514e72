"""Estimate time and memory of a run from a short measurement."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from mbrl_cli.agents.base import Agent
from mbrl_cli.config.build import RunObjects
from mbrl_cli.config.memory_check import replay_bytes
from mbrl_cli.console.remaining_time import MIN_STEPS, SKIPPED_STEPS, RemainingTime
from mbrl_cli.envs.time_limit import time_limit
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.run_settings import RunSettings
from mbrl_cli.seeding import torch_generator
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

MAX_DECISIONS = 30
MAX_SECONDS = 2.5
MAX_ROWS = 20  # episodes of an evaluation whose common decision is measured
MANY = 1000  # times that the measured round of an evaluation counts, against the default
# A first fit that takes longer is stopped, and the estimate is a lower bound.
MAX_FIT_SECONDS = 6.0


@dataclass(frozen=True)
class RunCost:
    """Estimated cost of a run.

    Attributes:
        decision_seconds: mean duration of a decision.
        update_seconds: mean duration of an update between two decisions, without fits.
        first_update_seconds: the first update, which for most model-based agents is a fit.
        num_fits: fits of the whole run.
        num_measured: decisions that were measured.
        env_seconds: duration of a step of the environment.
        remaining: the estimate, with these measurements.
        run_seconds: the whole run, if every evaluation episode takes its full length.
        is_lower_bound: whether the first update was stopped because it took too long.
        memory_bytes: peak of the process, with the whole replay.
    """

    decision_seconds: float
    update_seconds: float
    first_update_seconds: float
    num_fits: int
    num_measured: int
    env_seconds: float
    remaining: RemainingTime
    run_seconds: float
    is_lower_bound: bool
    memory_bytes: float


def measure_run(
    run: RunObjects,
    replay: ReplayBuffer,
    env_seconds: float,
    episode_limit: int,
    max_seconds: float | None = None,
    max_fit_seconds: float | None = None,
) -> RunCost:
    """Let the agent learn and act for some seconds, as in the run.

    Args:
        run: the objects of the run; they are changed, so the run needs new ones.
        replay: transitions of random steps; transitions are added.
        env_seconds: duration of a step of the environment.
        episode_limit: expected length of an evaluation episode.
        max_seconds: time for decisions, and half of it for those of an evaluation; None:
            `MAX_SECONDS`.
        max_fit_seconds: time for the first update; None: `MAX_FIT_SECONDS`.
    """
    max_seconds = MAX_SECONDS if max_seconds is None else max_seconds
    max_fit_seconds = MAX_FIT_SECONDS if max_fit_seconds is None else max_fit_seconds
    set_threads_and_malloc(run.threads)
    settings, agent, env = run.settings, run.agent, run.env
    first_step = min(settings.prefill_steps, settings.total_steps)
    policy = agent.policy([env], True, torch_generator(settings.seed, "policy"))
    obs = env.reset(settings.seed)
    policy.reset()
    fits = () if settings.model_from_frozen else agent.fit_steps(first_step, settings.total_steps)
    num_fits = len(fits)
    first_update, is_lower_bound = 0.0, False
    decisions: list[float] = []
    updates: list[float] = []
    start = time.monotonic()
    for step in range(first_step, first_step + MAX_DECISIONS):
        is_fit = len(agent.fit_steps(step, step + 1)) > 0
        before = time.monotonic()
        if not settings.model_from_frozen and not is_lower_bound:
            try:
                # The time limit may end a `torch.no_grad` block without its last line, which
                # enables gradients; the outer block does that, too.
                with torch.enable_grad(), time_limit(max_fit_seconds):
                    agent.update(replay, step)
            except TimeoutError:
                is_lower_bound = True
        update = time.monotonic() - before
        before = time.monotonic()
        decision = policy.act(obs[None])
        decisions.append(time.monotonic() - before)
        if step == first_step:
            first_update = update
            start = time.monotonic()
        elif not is_fit:
            updates.append(update)
        next_obs, reward, terminated, truncated = env.step(decision.action[0])
        replay.add(obs, decision.action[0], reward, next_obs, terminated, truncated)
        obs = next_obs
        if terminated or truncated:
            obs = env.reset(settings.seed + step)
            policy.reset()
        if len(decisions) >= 3 and time.monotonic() - start > max_seconds:
            break
    # The first decision also compiles and allocates.
    decision_seconds = fmean(decisions[1:] or decisions)
    update_seconds = fmean(updates) if updates else 0.0
    remaining = RemainingTime.of_run(settings, episode_limit)
    acting = decision_seconds + env_seconds
    for _ in range(SKIPPED_STEPS + MIN_STEPS):
        remaining.add_step(acting + update_seconds, acting)
    episodes = min(remaining.parallel_episodes or MAX_ROWS, settings.final_eval_episodes, MAX_ROWS)
    if episodes > 1:
        deciding = _decision_seconds(run, obs, episodes, max_seconds / 2)
        round_seconds = deciding + episodes * env_seconds
        remaining.add_round(episodes, round_seconds, times=MANY)
    remaining.add_fit(first_update)
    return RunCost(
        decision_seconds=decision_seconds,
        update_seconds=update_seconds,
        first_update_seconds=first_update,
        num_fits=num_fits,
        num_measured=len(decisions),
        env_seconds=env_seconds,
        remaining=remaining,
        run_seconds=_run_seconds(remaining, first_step, num_fits, first_update, env_seconds),
        is_lower_bound=is_lower_bound,
        memory_bytes=_peak_bytes() + replay_bytes(settings.total_steps, env.spec),
    )


def seconds_of_run(cost: RunCost, settings: RunSettings, agent: Agent) -> float:
    """Return the estimate for a run of another length; its agent and planner are those measured."""
    cost.remaining.total_steps = settings.total_steps
    cost.remaining.eval_every = settings.eval_every
    first_step = min(settings.prefill_steps, settings.total_steps)
    frozen = settings.model_from_frozen
    num_fits = 0 if frozen else len(agent.fit_steps(first_step, settings.total_steps))
    first_update = cost.first_update_seconds
    return _run_seconds(cost.remaining, first_step, num_fits, first_update, cost.env_seconds)


def _run_seconds(
    remaining: RemainingTime, first_step: int, num_fits: int, first_update: float, env: float
) -> float:
    """Return the duration of a run; `env` is that of a step of the environment."""
    seconds = (remaining.run_seconds(first_step, num_fits) or 0.0) + first_step * env
    return seconds if num_fits else seconds + first_update


def _decision_seconds(run: RunObjects, obs: np.ndarray, rows: int, max_seconds: float) -> float:
    """Return the duration of a decision for several episodes at once, as in an evaluation."""
    generator = torch_generator(run.settings.seed, "evaluation")
    policy = run.agent.policy([run.env] * rows, False, generator)
    policy.reset()
    many = np.repeat(obs[None], rows, axis=0)  # [rows, O]
    seconds: list[float] = []
    start = time.monotonic()
    while len(seconds) < 2 or (len(seconds) < 6 and time.monotonic() - start < max_seconds):
        before = time.monotonic()
        policy.act(many)
        seconds.append(time.monotonic() - before)
    return fmean(seconds[1:])


def _peak_bytes() -> float:
    """Return the largest memory of this process so far; 0 where it is not known."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) if sys.platform == "darwin" else 1024.0 * peak
