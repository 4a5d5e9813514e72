"""The loop: act, step, store, learn, evaluate, log, save."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from mbrl_cli.agents.base import Agent, Filmed, Policy
from mbrl_cli.agents.random import Random
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.known_check import check_known
from mbrl_cli.evaluation import Evaluation, evaluate, optimism_gap
from mbrl_cli.logger import Logger
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.seeding import child_seed, torch_generator
from mbrl_cli.store import RunStore
from mbrl_cli.types import Bounds, Count, CountOrZero, PositiveFloat

CHECKED = 200  # first real transitions that known functions are held against


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
    checkpoint_minutes: PositiveFloat
    keep_checkpoints: Count
    env_timeout: PositiveFloat | None
    check_known: bool
    model_from: str | None
    model_from_frozen: bool
    model_from_replay: bool
    log_every: Count
    console: bool


class Stopwatch:
    """Seconds spent in each part of a run."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("env", "plan", "fit", "eval", "save"), 0.0)

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
    """One run: collects data on the real environment while the agent learns from it.

    Between two episodes there is nothing but this object's state: the reset seed of episode k
    depends on (seed, k) alone, and an evaluation leaves no trace. So a checkpoint is such a moment,
    and a run that goes on from it is the run that was never cut, to the bit.
    """

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
        self.store = RunStore(folder, settings.keep_checkpoints)
        self.env_step = 0
        self.watch = Stopwatch()
        self._make_replay({}, 0)
        self._generators = {
            name: torch_generator(settings.seed, name) for name in ("prefill", "policy")
        }
        prefill = Random(env.spec)
        self._prefill = prefill.policy([env], True, self._generators["prefill"])
        self._policy = agent.policy([env], True, self._generators["policy"])
        self._boundary: dict[str, Any] = {}  # state between the last two episodes
        self._checked = range(0)  # rows of the replay that known functions agreed with
        self._saved_time = time.monotonic()

    def run(self) -> Evaluation:
        """Take `total_steps` environment steps; return the final evaluation.

        Whatever ends the run before that, the state before the current episode is saved.
        """
        settings = self.settings
        try:
            while self.env_step < settings.total_steps:
                self._at_boundary()
                # Random until the prefill is full, then on to that episode's end.
                prefilled = self.env_step >= settings.prefill_steps
                policy = self._policy if prefilled else self._prefill
                self._episode(policy, learn=prefilled and not settings.model_from_frozen)
                self._check_known()
            final = self._evaluate(settings.final_eval_episodes)
        finally:
            if self._boundary and self._boundary["env_step"] > self.store.saved_step:
                self._save()
        state = copy.deepcopy(self.agent.state_dict())
        self.store.finish(self.env_step, state, float(final.returns.mean()))
        return final

    def _make_replay(self, stored: dict[str, np.ndarray], episodes: int) -> None:
        """Start the replay with these transitions, with room for the steps that are left."""
        spec, settings = self.env.spec, self.settings
        rows = len(stored["reward"]) if stored else 0
        self.replay = ReplayBuffer(
            rows + settings.total_steps - self.env_step,
            spec.obs_dim,
            spec.action.dim,
            settings.holdout_ratio,
            pictures=spec.obs_shape is not None,
        )
        if stored:
            self.replay.load_state_dict({"total_added": rows, "num_episodes": episodes, **stored})

    # --- saving -----------------------------------------------------------------------------

    def load(self, state: dict[str, Any], stored: dict[str, np.ndarray]) -> None:
        """Go on from what `newest_state` returned; call before `run`."""
        self.env_step = state["env_step"]
        self.agent.load_state_dict(state["agent"])
        for name, generator in self._generators.items():
            generator.set_state(state["generators"][name])
        self.watch.seconds |= state["seconds"]
        self.store = RunStore(self.store.folder, self.settings.keep_checkpoints, state)
        self._make_replay(stored, state["episodes"])
        self._checked = range(len(self.replay), len(self.replay))

    def _at_boundary(self) -> None:
        """Remember the state between two episodes, and write it when it is time to."""
        self._boundary = {
            "env_step": self.env_step,
            "agent": copy.deepcopy(self.agent.state_dict()),
            "generators": {name: g.get_state() for name, g in self._generators.items()},
            "rows": self.replay.total_added,
            "episodes": self.replay.num_episodes,
            "seconds": dict(self.watch.seconds),
            "log": self.logger.position(),
        }
        settings = self.settings
        steps = self.env_step - max(self.store.saved_step, 0)
        minutes = (time.monotonic() - self._saved_time) / 60.0
        if steps and (
            0 < settings.checkpoint_every <= steps or minutes >= settings.checkpoint_minutes
        ):
            self._save()

    def _save(self) -> None:
        with self.watch("save"):
            self.logger.sync()
            self.store.save(self._boundary, self.replay)
        self._saved_time = time.monotonic()

    def bring_replay(self, stored: dict[str, np.ndarray], episodes: int) -> None:
        """Start with the transitions of another run; call before `run`."""
        self._make_replay(stored, episodes)
        self._checked = range(len(self.replay), len(self.replay))

    # --- playing ----------------------------------------------------------------------------

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

    def _check_known(self) -> None:
        """Hold known functions against the first transitions of this process."""
        if self.settings.check_known and len(self._checked) < CHECKED:
            rows = range(self._checked.stop, self.replay.total_added)
            check_known(self.env.spec, self.replay.batch(np.asarray(rows)))
            self._checked = range(self._checked.start, rows.stop)

    def _log_episode(
        self, policy: Policy, rewards: list[float], predicted: list[float], terminated: bool
    ) -> None:
        metrics = {"train/return": sum(rewards), "train/length": float(len(rewards))}
        gap = optimism_gap(
            predicted, rewards, terminated, policy.prediction_horizon, policy.discount
        )
        if gap is not None:
            metrics["planner/optimism_gap"] = gap
            metrics["planner/predicted_return"] = float(np.nanmean(predicted))
        self.logger.scalars(self.env_step, metrics | policy.metrics())

    def _at_cadence(self) -> None:
        """Do what is due at this step."""
        settings, step = self.settings, self.env_step
        last = step == settings.total_steps  # the final evaluation follows
        if settings.eval_every and step % settings.eval_every == 0 and not last:
            self._evaluate(settings.eval_episodes)
        if step % settings.log_every == 0:
            self.logger.scalars(step, self.watch.metrics())
        self.logger.progress(step)

    def _evaluate(self, episodes: int) -> Evaluation:
        """Evaluate and log; tags `eval/...`."""
        with self.watch("eval"):
            result = evaluate(self.agent, self.eval_envs[:episodes], self.settings.seed)
        self.logger.scalars(self.env_step, result.metrics())
        if isinstance(self.agent, Filmed):
            film = self.agent.film(self.replay, torch_generator(self.settings.seed, "film"))
            if film is not None:
                self.logger.film(self.env_step, "model/open_loop", film)
        self.logger.progress(self.env_step)
        return result
