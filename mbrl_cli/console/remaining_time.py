"""Estimate of the time that the rest of a run takes, from the parts measured so far."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean
from typing import Self

from mbrl_cli.run_settings import RunSettings

STEP_WINDOW = 200  # environment steps whose mean duration is the estimate for further ones
FIT_WINDOW = 3  # fits, likewise
LENGTH_WINDOW = 3  # episodes whose mean length is the estimate for further ones
MIN_STEPS = 5  # fewer steps give no estimate
# The first steps after the prefill are not measured: they compile and allocate.
SKIPPED_STEPS = 2
# Part of a decision's duration that each further environment adds, before a round of an evaluation
# is measured: 20 environments take nine times as long as one with CEM and an ensemble on one core.
ADDED_BY_ENV = 0.4
# The value before an evaluation counts as much as this many of its largest rounds.
ROUNDS_BEFORE = 10


class RemainingTime:
    """Add up the steps, fits and evaluations that a run still has, each with its measured duration.

    A round is one step of all episodes of an evaluation that have not ended. With b episodes it
    takes 1 + k * (b - 1) times as long as a decision in training. Both durations are those of the
    latest steps, because tree search and learned policies become slower or faster during a run.

    Args:
        total_steps: environment steps of the run.
        prefill_steps: those at the start that are random; their duration is not counted.
        eval_every: environment steps between evaluations; 0: only the final one.
        eval_episodes: episodes of an evaluation.
        final_eval_episodes: episodes of the final evaluation.
        parallel_episodes: episodes of an evaluation that are played in parallel; None: all.
        episode_limit: steps after which an episode is truncated.
    """

    def __init__(
        self,
        total_steps: int,
        prefill_steps: int,
        eval_every: int,
        eval_episodes: int,
        final_eval_episodes: int,
        parallel_episodes: int | None,
        episode_limit: int,
    ) -> None:
        self.total_steps = total_steps
        self.prefill_steps = prefill_steps
        self.eval_every = eval_every
        self.eval_episodes = eval_episodes
        self.final_eval_episodes = final_eval_episodes
        self.parallel_episodes = parallel_episodes
        self.episode_limit = episode_limit
        self._num_steps = 0  # after the prefill
        self._steps: deque[tuple[float, float]] = deque(maxlen=STEP_WINDOW)  # seconds, of deciding
        self._step_sum = self._decision_sum = 0.0
        self._fits: deque[float] = deque(maxlen=FIT_WINDOW)
        self._early_decision: float | None = None  # its duration in evaluations of the prefill
        self._rounds: dict[int, tuple[int, float]] = {}  # of the newest evaluation: number, seconds
        self._rounds_decision: float | None = None  # duration of a decision at that time
        self._added_before = ADDED_BY_ENV  # k before that evaluation
        self._random_lengths: list[int] = []
        self._lengths: deque[float] = deque(maxlen=LENGTH_WINDOW)
        self._save_seconds = 0.0
        self._saved_steps = 0

    @classmethod
    def of_run(cls, settings: RunSettings, episode_limit: int) -> Self:
        """Return the estimate of a run with these settings; see above for `episode_limit`."""
        return cls(
            total_steps=settings.total_steps,
            prefill_steps=settings.prefill_steps,
            eval_every=settings.eval_every,
            eval_episodes=settings.eval_episodes,
            final_eval_episodes=settings.final_eval_episodes,
            parallel_episodes=settings.num_eval_envs,
            episode_limit=episode_limit,
        )

    # --- measurements -------------------------------------------------------------------------

    def add_step(self, seconds: float, decision_seconds: float) -> None:
        """Add an environment step after the prefill.

        Args:
            seconds: its duration, without fits, evaluations and saving.
            decision_seconds: the part of it that acting and the environment take.
        """
        self._num_steps += 1
        if self._num_steps <= SKIPPED_STEPS:
            return
        if len(self._steps) == STEP_WINDOW:
            self._step_sum -= self._steps[0][0]
            self._decision_sum -= self._steps[0][1]
        self._steps.append((seconds, decision_seconds))
        self._step_sum += seconds
        self._decision_sum += decision_seconds

    def add_fit(self, seconds: float) -> None:
        """Add a fit of the model; its number of gradient steps does not grow with the data."""
        self._fits.append(seconds)

    def start_evaluation(self) -> None:
        """Begin to measure the rounds of an evaluation of the learned policy."""
        if self.step_seconds() is None:
            self._early_decision = self._decision_seconds()
        else:
            self._added_before = self._added_by_env()
            self._rounds_decision = self._decision_seconds()
        self._rounds = {}

    def add_round(self, num_episodes: int, seconds: float, times: int = 1) -> None:
        """Add one step of `num_episodes` episodes of that evaluation, or several equal ones."""
        number, total = self._rounds.get(num_episodes, (0, 0.0))
        self._rounds[num_episodes] = number + times, total + times * seconds

    def add_save(self, seconds: float, steps: int) -> None:
        """Add the writing of a checkpoint, `steps` environment steps after the one before."""
        if steps:
            self._save_seconds += seconds
            self._saved_steps += steps

    def add_random_episode(self, length: int) -> None:
        """Add the length of an episode of the prefill."""
        self._random_lengths.append(length)

    def add_learned_episode(self, length: float, number: int = 1) -> None:
        """Add a training episode after the prefill, or an evaluation of `number` episodes."""
        self._lengths.extend([length] * number)

    # --- estimates ----------------------------------------------------------------------------

    def step_seconds(self) -> float | None:
        """Return the duration of a step after the prefill, or None before it is measured."""
        return self._step_sum / len(self._steps) if len(self._steps) >= MIN_STEPS else None

    def decisions(self) -> tuple[int, float]:
        """Return the number of measured decisions and the mean duration of the latest ones."""
        number = max(0, self._num_steps - SKIPPED_STEPS)
        return number, self._decision_sum / max(1, len(self._steps))

    def fit_seconds(self) -> float | None:
        """Return the duration of a fit, or None before one is measured."""
        return fmean(self._fits) if self._fits else None

    def episode_length(self) -> float:
        """Return the expected length of an evaluation episode.

        Episodes that became longer than random ones are expected half way between their present
        length and the limit; others keep their present length.
        """
        if not self._lengths:
            return self.episode_limit
        present = fmean(self._lengths)
        if self._random_lengths and present <= fmean(self._random_lengths):
            return present
        return (present + self.episode_limit) / 2

    def round_seconds(self, num_episodes: int) -> float:
        """Return the duration of a round of an evaluation; 0 before any decision is measured."""
        decision = self._decision_seconds() or 0.0
        return decision * (1.0 + self._added_by_env() * (num_episodes - 1))

    def _decision_seconds(self) -> float | None:
        """Return the duration of a decision for one environment and of its step.

        Before steps are measured it is a round of an evaluation, divided by the episodes.
        """
        if self.step_seconds() is not None:
            return self._decision_sum / len(self._steps)
        if not self._rounds:
            return self._early_decision
        decisions = sum(b * number for b, (number, _) in self._rounds.items())
        return sum(total for _, total in self._rounds.values()) / decisions

    def _added_by_env(self) -> float:
        """Return k, for which the squared error of the newest evaluation's rounds is smallest."""
        if self.step_seconds() is None:
            return 1.0
        most_added = max(self._rounds, default=1) - 1
        if not most_added:
            return self._added_before
        decision = self._rounds_decision or self._decision_seconds() or 1.0
        weight = ROUNDS_BEFORE * most_added**2
        total = weight * self._added_before
        for b, (number, seconds) in self._rounds.items():
            weight += number * (b - 1) ** 2
            total += (b - 1) * (seconds / decision - number)
        return max(0.0, total / weight)

    def evaluation_seconds(self, num_episodes: int) -> float:
        """Return the duration of an evaluation that has not started."""
        parallel = min(self.parallel_episodes or num_episodes, num_episodes)
        full, rest = divmod(num_episodes, max(1, parallel))
        seconds = full * self.round_seconds(parallel)
        if rest:
            seconds += self.round_seconds(rest)
        return seconds * self.episode_length()

    def rest_of_evaluation_seconds(
        self, num_episodes: int, finished: int, running: int, round_number: int
    ) -> float:
        """Return the duration of the rest of an evaluation.

        Args:
            num_episodes: its episodes.
            finished: those that have ended.
            running: those that are being played.
            round_number: steps that these have taken.
        """
        length = self.episode_length()
        if round_number >= length:  # half way to the limit
            length = (round_number + self.episode_limit) / 2
        seconds = max(0.0, length - round_number) * self.round_seconds(running) if running else 0.0
        waiting = num_episodes - finished - running
        return seconds + (self.evaluation_seconds(waiting) if waiting else 0.0)

    def is_lower_bound(self, num_fits: int) -> bool:
        """Return whether steps, or the fits that are still to come, are not measured yet."""
        return self.step_seconds() is None or (not self._fits and num_fits > 0)

    def run_seconds(
        self, env_step: int, num_fits: int, final_evaluation: bool = True
    ) -> float | None:
        """Return the duration of the rest of the run without an evaluation that runs now.

        Before steps are measured, they are expected to take the time of a decision, and fits none.

        Args:
            env_step: environment steps that are taken.
            num_fits: fits that are still to come.
            final_evaluation: whether the final evaluation is still to come.

        Returns:
            None before a decision is measured.
        """
        decision = self._decision_seconds()
        if decision is None:
            return None
        step = self.step_seconds() or decision
        steps_left = max(0, self.total_steps - max(env_step, self.prefill_steps))
        seconds = steps_left * (step + self._save_seconds / max(1, self._saved_steps))
        seconds += num_fits * (self.fit_seconds() or 0.0)
        seconds += self._num_evaluations(env_step) * self.evaluation_seconds(self.eval_episodes)
        if final_evaluation:
            seconds += self.evaluation_seconds(self.final_eval_episodes)
        return seconds

    def _num_evaluations(self, env_step: int) -> int:
        """Return the number of evaluations after this step, without the final one."""
        if not self.eval_every:
            return 0
        last = math.ceil(self.total_steps / self.eval_every) - 1
        return max(0, last - env_step // self.eval_every)
