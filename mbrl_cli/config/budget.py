"""`budget=30min`: set `total_steps` so that the run ends in this time on this machine.

The parts of the actual run are measured: steps of the environment, a fit, decisions, and decisions
of an evaluation. If even few steps do not fit, the planner gets fewer plans and is measured again.
The config then has the numbers, so the run and each resumed part of it do not depend on the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.random import random_actions
from mbrl_cli.config.budget_text import BUDGET, parse_budget
from mbrl_cli.config.build import RunObjects, build, run_level_settings
from mbrl_cli.config.command_words import key_of
from mbrl_cli.config.memory_check import available_bytes, replay_bytes
from mbrl_cli.config.run_cost import MAX_DECISIONS, RunCost, measure_run, seconds_of_run
from mbrl_cli.console.progress_line import duration
from mbrl_cli.envs.env import STEPS_WITHOUT_LIMIT
from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.run_settings import RunSettings

MARGIN = 0.1  # fraction of the budget that is kept for what is not measured
# Fractions of the budget for the parts of a measurement; there are two measurements at most.
ENV_FRACTION, DECISION_FRACTION, FIT_FRACTION = 0.005, 0.01, 0.05
FEW_STEPS = 200  # steps after the prefill; with less time the planner gets fewer plans
PLANS = ("population", "num_simulations")  # keys of planners that a decision's time is linear in
MIN_PLANS = 8
MAX_REDUCTION = 8
MAX_STEPS = 10**8
DIGITS = 2  # significant digits of `total_steps`


@dataclass(frozen=True)
class _Measured:
    """A measured run: its agent, settings and cost."""

    agent: Agent
    settings: RunSettings
    cost: RunCost
    max_steps: int  # for which the replay fits into memory


def apply_budget(config: DictConfig, words: Sequence[str]) -> list[str]:
    """Set `total_steps`, and the planner's number of plans if needed; return lines that say so.

    Args:
        config: a composed and checked config, which is changed in place; without `budget` it stays.
        words: the words of the command line; keys that they name are not changed.

    Raises:
        UserError: if `total_steps` is given, too, or the budget is too short.
    """
    seconds = parse_budget(config.get(BUDGET))
    if seconds is None:
        return []
    start = time.monotonic()
    shown, typed = f"budget={config[BUDGET]}", {key_of(word) for word in words}
    if "total_steps" in typed:
        raise UserError(f"{shown}: sets total_steps, which is given, too; leave out one of them")
    before, changed = config.total_steps, ""
    measured = _measure(config, seconds, shown)
    least = measured.settings.prefill_steps + FEW_STEPS
    limit = (1.0 - MARGIN) * seconds
    plans = _plans_key(config, typed)
    steps = _largest(config, measured, least, limit - (time.monotonic() - start))
    if steps is None and plans is not None:
        old = config.planner[plans]
        needed = _estimate(config, measured, least) / max(limit, 1.0)
        reduction = min(MAX_REDUCTION, 2 ** math.ceil(math.log2(max(2.0, needed))))
        config.planner[plans] = min(old, max(MIN_PLANS, old // reduction))
        changed = f", planner.{plans}={old} -> {config.planner[plans]}"
        measured = _measure(config, seconds, shown)
        steps = _largest(config, measured, least, limit - (time.monotonic() - start))
    if steps is None:
        needed = _estimate(config, measured, least) / (1.0 - MARGIN)
        raise UserError(
            f"{shown}: too short; {least:,} steps, {measured.settings.prefill_steps} of them "
            f"random, take about {duration(needed)} (h:mm:ss){changed and ' with'}{changed[1:]}; "
            f"use budget={math.ceil(1.2 * needed / 60)}min, or smaller values of "
            f"final_eval_episodes, env.max_episode_steps or prefill_steps"
        )
    with open_dict(config):
        config.total_steps = steps
    took = time.monotonic() - start
    return [
        f"budget    {config[BUDGET]}: {_parts(measured.cost)}; measured in {took:.0f} s",
        f"budget    total_steps={before} -> {steps}{changed}: about "
        f"{duration(_estimate(config, measured, steps))} (h:mm:ss), if every evaluation episode "
        "takes its full length",
    ]


def _measure(config: DictConfig, seconds: float, shown: str) -> _Measured:
    """Build the run and measure its parts.

    Raises:
        UserError: if the first update takes too long for the measurement.
    """
    run = build(config)
    try:
        replay, env_seconds = _random_steps(run, ENV_FRACTION * seconds)
        spec = run.env.spec
        fit_limit = FIT_FRACTION * seconds
        cost = measure_run(
            run,
            replay,
            env_seconds,
            spec.max_episode_steps or STEPS_WITHOUT_LIMIT,
            max_seconds=DECISION_FRACTION * seconds,
            max_fit_seconds=fit_limit,
        )
    finally:
        for env in run.envs:
            env.close()
    if cost.is_lower_bound:
        raise UserError(
            f"{shown}: too short; the first fit takes more than {fit_limit:.1f} s, "
            f"{FIT_FRACTION:.0%} of it; use a longer budget, or fewer gradient steps, such as "
            "model.max_steps=100"
        )
    free = available_bytes() / 2
    max_steps = int(min(MAX_STEPS, free / replay_bytes(1, spec)))
    return _Measured(run.agent, run.settings, cost, max_steps)


def _random_steps(run: RunObjects, max_seconds: float) -> tuple[ReplayBuffer, float]:
    """Return a replay of random steps, and the duration of a step of the environment.

    As many as the prefill has, or fewer if they take longer than `max_seconds`; two episodes at
    least, because one is held out.
    """
    settings, env = run.settings, run.env
    spec = env.spec
    limit = spec.max_episode_steps or STEPS_WITHOUT_LIMIT
    capacity = max(settings.prefill_steps, 1) + 3 * limit + MAX_DECISIONS
    replay = ReplayBuffer(
        capacity, spec.obs_dim, spec.action.dim, settings.holdout_ratio,
        images=spec.obs_shape is not None,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(settings.seed)
    start, spent, episodes = time.monotonic(), 0.0, 0
    while episodes < 2 or replay.total_added < settings.prefill_steps:
        obs = env.reset(settings.seed + episodes)
        for step in range(limit):
            action = random_actions(spec.action, 1, generator)[0]
            before = time.monotonic()
            next_obs, reward, terminated, truncated = env.step(action)
            spent += time.monotonic() - before
            is_last = truncated or step + 1 == limit
            replay.add(obs, action, reward, next_obs, terminated, is_last and not terminated)
            obs = next_obs
            if terminated or is_last:
                break
        episodes += 1
        if episodes >= 2 and time.monotonic() - start > max_seconds:
            break
    return replay, spent / replay.total_added


def _largest(config: DictConfig, measured: _Measured, least: int, available: float) -> int | None:
    """Return the most steps that take at most `available` seconds; None if `least` do not."""
    low, high = least, max(least + 1, measured.max_steps)
    if _estimate(config, measured, low) > available:
        return None
    while high - low > max(1, low // 1000):
        middle = min((low + high) // 2, 2 * low)
        if _estimate(config, measured, middle) > available:
            high = middle
        else:
            low = middle
    unit = int(10 ** max(0, len(str(low)) - DIGITS))
    return max(least, low // unit * unit)


def _estimate(config: DictConfig, measured: _Measured, total_steps: int) -> float:
    """Return the seconds of a run of this length; `eval_every` follows it as in the config."""
    with open_dict(config):
        config.total_steps = total_steps
    return seconds_of_run(measured.cost, run_level_settings(config)[0], measured.agent)


def _plans_key(config: DictConfig, typed: set[str]) -> str | None:
    """Return the key of the planner's number of plans; None if there is none, or it was typed."""
    names = [key for key in PLANS if OmegaConf.select(config, f"planner.{key}") is not None]
    return next((key for key in names if f"planner.{key}" not in typed), None)


def _parts(cost: RunCost) -> str:
    """Return the measured parts as text."""
    fits = f", a fit {_seconds(cost.first_update_seconds)}" if cost.num_fits else ""
    return (
        f"a step of the environment takes {_seconds(cost.env_seconds)}, a decision "
        f"{_seconds(cost.decision_seconds)}, an update {_seconds(cost.update_seconds)}{fits}"
    )


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"
