"""The training loop: act, step, store, learn, evaluate, log, save.

The file has more than 300 lines because the order of these steps is what makes a resumed run exact.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.random import Random
from mbrl_cli.callbacks.callback_list import CallbackList
from mbrl_cli.checkpoint_store import CheckpointStore
from mbrl_cli.console.remaining_time import RemainingTime
from mbrl_cli.console.run_progress import RunProgress
from mbrl_cli.divergence import refuse_nonfinite_action, refuse_nonfinite_losses
from mbrl_cli.envs.env import STEPS_WITHOUT_LIMIT, Env
from mbrl_cli.envs.known_function_check import check_known_functions
from mbrl_cli.episode_video import FRAME_MS, EpisodeVideo
from mbrl_cli.errors import Diverged, printable
from mbrl_cli.evaluation import Evaluation, evaluate
from mbrl_cli.evaluation_envs import EvaluationEnvs
from mbrl_cli.logger import Logger
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.run_settings import RunSettings
from mbrl_cli.seeding import child_seed, torch_generator
from mbrl_cli.signals import raise_if_stop_requested
from mbrl_cli.stopwatch import Stopwatch
from mbrl_cli.training_episode import TrainingEpisode

# The known functions are compared with at least this many transitions after a start or resume.
CHECKED_TRANSITIONS = 200


class Runner:
    """One run: collects data in the real environment while the agent learns from it.

    One episode starts in each environment at the same time, and the next ones when all have ended.
    A checkpoint is taken between these rounds. At that moment this object holds the whole state of
    the run: the reset seed of episode k depends on (seed, k) alone, and an evaluation changes
    nothing. So a resumed run is equal to the bit to one that was never interrupted.
    """

    def __init__(
        self,
        envs: Sequence[Env],
        eval_envs: EvaluationEnvs,
        agent: Agent,
        settings: RunSettings,
        logger: Logger,
        folder: Path,
        config: str = "",
        callbacks: CallbackList | None = None,
    ) -> None:
        """Start at step 0; `config` is the run's config as text, which each checkpoint holds."""
        self.callbacks = callbacks or CallbackList({})
        self.end_step = settings.total_steps  # a callback may end the run before
        self.stop_reason = ""  # of a run that a callback ended
        self.envs = list(envs)
        self.spec = envs[0].spec
        self.eval_envs = eval_envs
        self.agent = agent
        self.settings = settings
        self.logger = logger
        self.store = CheckpointStore(folder, settings.keep_checkpoints, config)
        self.env_step = 0
        self.stopwatch = Stopwatch()
        episode_limit = self.spec.max_episode_steps or STEPS_WITHOUT_LIMIT
        self.progress = RunProgress(
            RemainingTime.of_run(settings, episode_limit),
            self.stopwatch,
            (lambda *_: ()) if settings.model_from_frozen else agent.fit_steps,
        )
        self._make_replay({}, 0)
        self._generators = {
            name: torch_generator(settings.seed, name) for name in ("prefill", "policy")
        }
        prefill = Random(self.spec, settings.prefill_hold)
        self._prefill_policy = prefill.policy(envs, True, self._generators["prefill"])
        self._policy = agent.policy(envs, True, self._generators["policy"])
        self._snapshot: dict[str, Any] = {}  # state of the run before the current episodes
        self._evaluation_waits = False  # for the end of the training episodes
        self._shown_notices: set[str] = set()
        self._checked_rows = range(0)  # rows of the replay that the known functions agreed with
        self._saved_time = time.monotonic()

    def run(self) -> Evaluation:
        """Take `total_steps` environment steps; return the final evaluation.

        If the run is interrupted by any exception, the state before the current episodes is saved.
        """
        settings = self.settings
        self._show_notices()
        self.progress.start(self.env_step)
        try:
            while self.env_step < self.end_step:
                self._take_snapshot()
                self._save_if_due()
                # The prefill ends with the episode in which it reaches `prefill_steps`.
                prefilled = self.env_step >= settings.prefill_steps
                policy = self._policy if prefilled else self._prefill_policy
                self._play_round(policy, prefilled)
                self._check_known_functions()
                if self._evaluation_waits and self.env_step < self.end_step:
                    self._evaluate(settings.eval_episodes)
                self._show_notices()
            self._refuse_nonfinite_weights()
            final = self._evaluate(settings.final_eval_episodes)
            self.logger.scalars(self.env_step, self.stopwatch.metrics())
            self._show_notices()
        finally:
            if self._snapshot and self._snapshot["env_step"] > self.store.saved_step:
                self._save_snapshot()
        with self.stopwatch("save"):
            agent_state = copy.deepcopy(self.agent.state_dict())
            if self.stop_reason:
                self.store.record_stop(self.stop_reason)
            self.logger.sync()  # before the run counts as finished: a finished run is not resumed
            self.store.finish(self.env_step, agent_state, float(final.returns.mean()))
        return final

    def resume_from(self, checkpoint: dict[str, Any], transitions: dict[str, np.ndarray]) -> None:
        """Restore what `load_newest_checkpoint` returned; call before `run`."""
        self.env_step = checkpoint["env_step"]
        self.agent.load_state_dict(checkpoint["agent"])
        for name, generator in self._generators.items():
            generator.set_state(checkpoint["generators"][name])
        self.stopwatch.seconds |= checkpoint["seconds"]
        self.store.continue_from(checkpoint)
        self.callbacks.load_state_dict(checkpoint.get("callbacks", {}))
        self.start_from_replay(transitions, checkpoint["episodes"])

    def start_from_replay(self, transitions: dict[str, np.ndarray], episodes: int) -> None:
        """Start with these transitions of another run, by field; call before `run`."""
        self._make_replay(transitions, episodes)
        self._checked_rows = range(len(self.replay), len(self.replay))

    def _make_replay(self, transitions: dict[str, np.ndarray], episodes: int) -> None:
        """Create the replay buffer with these transitions and space for the remaining steps."""
        spec, settings = self.spec, self.settings
        rows = len(transitions["reward"]) if transitions else 0
        self.replay = ReplayBuffer(
            rows + settings.total_steps - self.env_step,
            spec.obs_dim,
            spec.action.dim,
            settings.holdout_ratio,
            images=spec.obs_shape is not None,
        )
        if transitions:
            self.replay.load_state_dict(
                {"total_added": rows, "num_episodes": episodes, **transitions}
            )

    def _take_snapshot(self) -> None:
        """Copy the state of the run between two rounds of episodes.

        Raises:
            Diverged: if weights are not finite; the previous copy is kept.
        """
        self._refuse_nonfinite_weights()
        self._snapshot = {
            "env_step": self.env_step,
            "agent": copy.deepcopy(self.agent.state_dict()),
            "generators": {name: g.get_state() for name, g in self._generators.items()},
            "rows": self.replay.total_added,
            "episodes": self.replay.num_episodes,
            "seconds": dict(self.stopwatch.seconds),
            "log": self.logger.position(),
        }
        if self.callbacks:
            self._snapshot["callbacks"] = copy.deepcopy(self.callbacks.state_dict())

    def _refuse_nonfinite_weights(self) -> None:
        if not self.agent.is_finite():
            advice = self.agent.divergence_advice
            raise Diverged(f"the agent's weights are not finite: training diverged; {advice}")

    def _save_if_due(self) -> None:
        """Save a checkpoint if enough steps or minutes passed since the previous one."""
        settings = self.settings
        steps = self.env_step - max(self.store.saved_step, 0)
        minutes = (time.monotonic() - self._saved_time) / 60.0
        # The model of another run is read once: that run may change before this one is resumed.
        has_source = settings.model_from is not None and self.store.saved_step < 0
        if has_source or (
            steps
            and (0 < settings.checkpoint_every <= steps or minutes >= settings.checkpoint_minutes)
        ):
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        with self.stopwatch("save"):
            self.logger.sync()
            self.store.save(self._snapshot, self.replay)
        self.progress.end_save()
        self._saved_time = time.monotonic()

    def _show_notices(self) -> None:
        """Print each notice of the environments on stderr, once."""
        for line in self.eval_envs.notices():
            self._show(line)

    def _show(self, line: str | None) -> None:
        """Print a line on stderr, unless it is None or was printed before."""
        if line is not None and line not in self._shown_notices:
            self._shown_notices.add(line)
            print(f"mbrl: {printable(line)}", file=sys.stderr)

    def _play_round(self, policy: Policy, prefilled: bool) -> None:
        """Play one training episode in each environment; all end early at `total_steps`.

        The agent learns before each environment step. The B environments share a decision, which is
        taken before the first of their B steps. Episodes of the prefill are cut at
        `prefill_limit`.
        """
        settings, replay = self.settings, self.replay
        learn = prefilled and not settings.model_from_frozen
        is_cut = not prefilled and not isinstance(self.agent, Random)
        running = [
            TrainingEpisode(env, index, child_seed(settings.seed, "episode", index))
            for index, env in enumerate(self.envs, start=replay.num_episodes)
        ]
        policy.reset()
        self.progress.start_episode(is_prefill=not prefilled)
        while running and self.env_step < self.end_step:
            if learn:
                self._update()
            with self.stopwatch("plan"):
                decision = policy.act(np.stack([episode.obs for episode in running]))  # B rows
                refuse_nonfinite_action(decision.action, self.agent.divergence_advice)
            goes_on = np.ones(len(running), bool)
            for row, episode in enumerate(running):
                if self.env_step >= self.end_step:  # a callback may end the run before the others
                    return
                if row and learn:
                    self._update()
                action = decision.action[row]
                with self.stopwatch("env"):
                    next_obs, reward, terminated, truncated = episode.env.step(action)
                raise_if_stop_requested()
                if is_cut and self.env_step + 1 >= settings.prefill_limit and not terminated:
                    truncated = True
                episode.transitions.append(replay.total_added)
                replay.add(
                    episode.obs, action, reward, next_obs, terminated, truncated, episode.index
                )
                episode.obs = next_obs
                self.env_step += 1
                self.progress.end_step(self.env_step)
                self._show(self.progress.long_run_notice(self.agent.cost_advice))
                episode.rewards.append(reward)
                if decision.predicted_return is not None:
                    episode.predicted.append(float(decision.predicted_return[row]))
                if terminated or truncated:
                    goes_on[row] = False
                    self._log_episode(policy, episode, terminated)
                self._evaluate_and_log_if_due()
            if not goes_on.all():
                running = [running[row] for row in np.flatnonzero(goes_on)]
                if running:
                    policy.retain(np.flatnonzero(goes_on))

    def _update(self) -> None:
        """Let the agent learn before the next environment step."""
        self.progress.start_update()
        with self.stopwatch("fit"):
            metrics = self.agent.update(self.replay, self.env_step)
        self.logger.scalars(self.env_step, metrics)
        refuse_nonfinite_losses(metrics, self.agent.divergence_advice)
        self.progress.end_update()

    def _check_known_functions(self) -> None:
        """Compare the known functions with the first transitions of this process."""
        if self.settings.check_known and len(self._checked_rows) < CHECKED_TRANSITIONS:
            rows = range(self._checked_rows.stop, self.replay.total_added)
            check_known_functions(self.spec, self.replay.batch(np.asarray(rows)))
            self._checked_rows = range(self._checked_rows.start, rows.stop)

    def _log_episode(self, policy: Policy, episode: TrainingEpisode, terminated: bool) -> None:
        self.progress.end_episode(len(episode.rewards))
        self.logger.scalars(self.env_step, episode.metrics(policy, terminated))
        if self.callbacks:
            fields = self.replay.transitions_at(np.array(episode.transitions))
            self.logger.scalars(self.env_step, self.callbacks.after_episode(self.env_step, fields))
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        """End the run at this step if a callback wants it to."""
        reason = self.callbacks.stop_reason()
        if reason and self.env_step < self.end_step:
            self.end_step, self.stop_reason = self.env_step, reason
            self.progress.stop()
            self.logger.message(f"stopped at step {self.env_step:,}: {printable(reason)}")

    def _evaluate_and_log_if_due(self) -> None:
        """Evaluate and log the times at the steps that the settings name."""
        settings, step = self.settings, self.env_step
        is_last = step == settings.total_steps  # `run` does the final evaluation
        if settings.eval_every and step % settings.eval_every == 0 and not is_last:
            self._evaluation_waits = self.eval_envs.uses_training_envs()
            if not self._evaluation_waits:
                self._evaluate(settings.eval_episodes)
        if step % settings.log_every == 0:
            self.logger.scalars(step, self.stopwatch.metrics())
        if not is_last:
            self.logger.progress(self.progress)

    def _evaluate(self, episodes: int) -> Evaluation:
        """Play evaluation episodes and log the result, tags `eval/...`."""

        def report(finished: int, running: int, round_number: int) -> None:
            self.progress.end_round(finished, running, round_number)
            self.logger.progress(self.progress)

        self.progress.start_evaluation(episodes)
        recorder = EpisodeVideo(self.settings.eval_video) if self.settings.eval_video else None
        with self.stopwatch("eval"):
            envs = self.eval_envs.take(episodes)
            result = evaluate(self.agent, envs, self.settings.seed, episodes, report, recorder)
        self.progress.end_evaluation(float(result.lengths.mean()))
        self._evaluation_waits = False
        self.logger.scalars(self.env_step, result.metrics())
        if self.callbacks:
            metrics = self.callbacks.after_evaluation(self.env_step, result)
            self.logger.scalars(self.env_step, metrics)
            self._stop_if_asked()
        frames = recorder.frames() if recorder is not None else None
        if frames is not None:
            self.logger.video(self.env_step, "eval/video", frames, FRAME_MS)
        # A generator of its own: a video changes no other random number.
        video = self.agent.video(self.replay, torch_generator(self.settings.seed, "video"))
        if video is not None:
            self.logger.video(self.env_step, "model/open_loop", video)
        self.logger.progress(self.progress)
        return result
