"""The loop: act, step, store, learn, evaluate, log, save."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.random import Random
from mbrl_cli.checkpoint import save_checkpoint
from mbrl_cli.envs.env import Env
from mbrl_cli.evaluation import Evaluation, evaluate, optimism_gap
from mbrl_cli.logger import Logger
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.seeding import child_seed, torch_generator
from mbrl_cli.types import Bounds, Count, CountOrZero

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class RunSettings:
    """The run-level keys; `configs/train.yaml` explains each."""

    seed: CountOrZero
    total_steps: Count
    prefill_steps: CountOrZero
    eval_every: CountOrZero
    eval_episodes: Count
    final_eval_episodes: Count
    holdout_ratio: Annotated[float, Bounds(0.0, 0.5)]
    checkpoint_every: CountOrZero
    log_every: Count
    console: bool


class Stopwatch:
    """Seconds spent in each part of a run."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("env", "plan", "fit", "eval"), 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time inside the `with` block for `part`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start

    def metrics(self) -> dict[str, float]:
        """Return the seconds so far by tag."""
        return {f"time/{part}": seconds for part, seconds in self.seconds.items()}


class Runner:
    """One run: collects data on the real environment while the agent learns from it."""

    def __init__(
        self,
        env: Env,
        eval_envs: Sequence[Env],
        agent: Agent,
        settings: RunSettings,
        logger: Logger,
        folder: Path,
    ) -> None:
        self.env = env
        self.eval_envs = eval_envs
        self.agent = agent
        self.settings = settings
        self.logger = logger
        self.folder = folder
        self.env_step = 0
        self.watch = Stopwatch()
        spec, seed = env.spec, settings.seed
        self.replay = ReplayBuffer(
            settings.total_steps, spec.obs_dim, spec.action.dim, settings.holdout_ratio
        )
        self._prefill = Random(spec).policy([env], True, torch_generator(seed, "prefill"))
        self._policy = agent.policy([env], True, torch_generator(seed, "policy"))

    def run(self) -> Evaluation:
        """Take `total_steps` environment steps; return the final evaluation."""
        settings = self.settings
        try:
            while self.env_step < settings.total_steps:
                # Random until the prefill is full, then on to that episode's end.
                prefilled = self.env_step >= settings.prefill_steps
                self._episode(self._policy if prefilled else self._prefill, learn=prefilled)
            final = self._evaluate(settings.final_eval_episodes)
        finally:
            self.save()  # also after Ctrl-C
        return final

    def _episode(self, policy: Policy, learn: bool) -> None:
        """Play one episode of the training environment, or what the step budget leaves of it."""
        settings, env, replay = self.settings, self.env, self.replay
        seed = child_seed(settings.seed, "episode", replay.num_episodes)
        rewards: list[float] = []
        predicted: list[float] = []
        terminated = truncated = False
        obs = env.reset(seed)
        policy.reset()
        while not (terminated or truncated) and self.env_step < settings.total_steps:
            if learn:
                with self.watch("fit"):
                    self.logger.scalars(self.env_step, self.agent.update(replay, self.env_step))
            with self.watch("plan"):
                decision = policy.act(obs[None])
            with self.watch("env"):
                next_obs, reward, terminated, truncated = env.step(decision.action[0])
            replay.add(obs, decision.action[0], reward, next_obs, terminated, truncated)
            obs = next_obs
            self.env_step += 1
            rewards.append(reward)
            if decision.predicted_return is not None:
                predicted.append(float(decision.predicted_return[0]))
            if terminated or truncated:
                self._log_episode(policy, rewards, predicted, terminated)
            self._at_cadence()

    def _log_episode(
        self, policy: Policy, rewards: list[float], predicted: list[float], terminated: bool
    ) -> None:
        metrics = {"train/return": sum(rewards), "train/length": float(len(rewards))}
        gap = optimism_gap(
            predicted, rewards, terminated, policy.prediction_horizon, policy.discount
        )
        if gap is not None:
            metrics["planner/optimism_gap"] = gap
            metrics["planner/predicted_return"] = sum(predicted) / len(predicted)
        self.logger.scalars(self.env_step, metrics | policy.metrics())

    def _at_cadence(self) -> None:
        """Do what is due at this step."""
        settings, step = self.settings, self.env_step
        last = step == settings.total_steps  # the final evaluation follows
        if settings.eval_every and step % settings.eval_every == 0 and not last:
            self._evaluate(settings.eval_episodes)
        if step % settings.log_every == 0:
            self.logger.scalars(step, self.watch.metrics())
        if settings.checkpoint_every and step % settings.checkpoint_every == 0:
            self.save()
        self.logger.progress(step)

    def _evaluate(self, episodes: int) -> Evaluation:
        """Evaluate and log; tags `eval/...`."""
        with self.watch("eval"):
            result = evaluate(self.agent, self.eval_envs[:episodes], self.settings.seed)
        self.logger.scalars(self.env_step, result.metrics())
        self.logger.progress(self.env_step)
        return result

    def save(self) -> None:
        """Write a checkpoint that `mbrl eval` loads."""
        self.logger.flush()
        state = {"env_step": self.env_step, "agent": self.agent.state_dict()}
        save_checkpoint(self.folder, CHECKPOINT, state)
