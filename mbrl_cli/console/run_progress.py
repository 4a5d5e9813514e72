"""What a run does at the moment and how long it still takes, for the console."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import NamedTuple

from mbrl_cli.console.long_run import long_run_notice
from mbrl_cli.console.remaining_time import RemainingTime
from mbrl_cli.stopwatch import Stopwatch

# An update that takes longer is shown as a phase of its own.
SHOWN_UPDATE_SECONDS = 0.5
# Time between two estimates while steps are taken; each costs some microseconds.
ESTIMATE_SECONDS = 0.05


class _Estimate(NamedTuple):
    """Remaining seconds at a time; None: not measured yet.

    `block` is the expected duration of what runs now: the estimate falls by at most this much until
    it is computed again. `is_lower_bound` is true while a part of the run is not measured.
    """

    seconds: float | None
    time: float
    block: float
    is_lower_bound: bool


class RunProgress:
    """Phase, environment step and remaining time of a run.

    The thread of the run calls the methods that change it. The console's thread may call `phase`
    and `seconds_left` at any time; they read attributes that are replaced as a whole.

    Args:
        remaining: estimates the time; this object adds the measurements to it.
        stopwatch: its blocks are the phases of the run.
        fit_steps: maps two environment steps to those in between, the second one excluded, before
            which the agent fits its model.

    Attributes:
        env_step: environment steps that are taken.
        total_steps: those of the whole run.
        is_prefill: whether actions are random, because the agent has not learned yet.
    """

    def __init__(
        self,
        remaining: RemainingTime,
        stopwatch: Stopwatch,
        fit_steps: Callable[[int, int], Sized],
    ) -> None:
        self._remaining = remaining
        self._stopwatch = stopwatch
        self._fit_steps = fit_steps
        self.total_steps = remaining.total_steps
        self.env_step = self._saved_step = 0
        self.is_prefill = True
        self._is_fit = False
        self._fit_sum = 0.0
        self._seconds_at_start = dict(stopwatch.seconds)
        self._evaluation = (0, 0, 0)  # episodes, those that have ended, their step
        self._final_is_ahead = True  # the final evaluation
        self._round_start: float | None = None
        self._num_running = 0  # episodes of the evaluation that take the present step
        self._step_mark = self._decision_mark = 0.0
        self._estimate = _Estimate(None, 0.0, 0.0, False)

    # --- reported by the run ------------------------------------------------------------------

    def start(self, env_step: int) -> None:
        """Begin to measure at this environment step."""
        self.env_step = self._saved_step = env_step
        self._seconds_at_start = dict(self._stopwatch.seconds)
        self._set_marks()

    def start_episode(self, is_prefill: bool) -> None:
        """Begin a training episode."""
        self.is_prefill = is_prefill

    def end_episode(self, length: int) -> None:
        """Note that a training episode has ended after `length` steps."""
        if self.is_prefill:
            self._remaining.add_random_episode(length)
        else:
            self._remaining.add_learned_episode(length)

    def start_update(self) -> None:
        """Note that the agent's update before the next step begins."""
        self._is_fit = len(self._fit_steps(self.env_step, self.env_step + 1)) > 0
        if self._is_fit:
            self._estimate_run(self._remaining.fit_seconds() or 0.0)

    def end_update(self) -> None:
        """Note that the update has ended; if it was a fit, its duration is measured."""
        if self._is_fit:
            seconds = self._stopwatch.last_seconds
            self._remaining.add_fit(seconds)
            self._fit_sum += seconds
            self._is_fit = False

    def end_step(self, env_step: int) -> None:
        """Note that an environment step was taken."""
        step, decision = self._step_mark, self._decision_mark
        self._set_marks()
        self.env_step = env_step
        if not self.is_prefill:
            self._remaining.add_step(self._step_mark - step, self._decision_mark - decision)
        if self._stopwatch.clock() - self._estimate.time >= ESTIMATE_SECONDS:
            self._estimate_run(max(ESTIMATE_SECONDS, self._remaining.step_seconds() or 0.0))

    def start_evaluation(self, num_episodes: int) -> None:
        """Note that an evaluation begins."""
        self._evaluation = num_episodes, 0, 0
        self._final_is_ahead = self.env_step < self._remaining.total_steps
        self._round_start = None
        self._remaining.start_evaluation()
        self._estimate_evaluation(finished=0, running=0, round_number=0)

    def end_round(self, finished: int, running: int, round_number: int) -> None:
        """Note that all running episodes of the evaluation have taken a step.

        Args:
            finished: episodes that have ended.
            running: episodes that go on.
            round_number: steps that these have taken.
        """
        now = self._stopwatch.clock()
        if self._round_start is not None:
            self._remaining.add_round(self._num_running, now - self._round_start)
        self._round_start, self._num_running = now if running else None, running
        self._evaluation = self._evaluation[0], finished, round_number
        self._estimate_evaluation(finished, running, round_number)

    def end_evaluation(self, mean_length: float) -> None:
        """Note that the evaluation's episodes have ended, with this mean length."""
        if not self.is_prefill:
            self._remaining.add_learned_episode(mean_length, self._evaluation[0])
        self._estimate_run(0.0)

    def stop(self) -> None:
        """Note that only the final evaluation follows, because a callback ends the run here."""
        self._remaining.total_steps = self.env_step
        self._estimate_run(0.0)

    def end_save(self) -> None:
        """Note that a checkpoint was written."""
        steps = self.env_step - self._saved_step
        self._remaining.add_save(self._stopwatch.last_seconds, steps)
        self._saved_step = self.env_step

    # --- read by the console ------------------------------------------------------------------

    def phase(self) -> str:
        """Return what the run does now, for example 'evaluating 7/20'."""
        current = self._stopwatch.current
        if current is not None:
            name, start = current
            if name == "eval":
                num_episodes, finished, round_number = self._evaluation
                return f"evaluating {finished}/{num_episodes}, step {round_number}"
            if name == "save":
                return "saving"
            if name == "fit" and (
                self._is_fit or self._stopwatch.clock() - start >= SHOWN_UPDATE_SECONDS
            ):
                return "fitting"
        if self.env_step >= self._remaining.total_steps:
            return "saving"
        if self.is_prefill:
            return "prefill"
        seconds, before = self._stopwatch.seconds, self._seconds_at_start
        learning = seconds["fit"] - before["fit"] - self._fit_sum
        return "learning" if learning > seconds["plan"] - before["plan"] else "planning"

    def long_run_notice(self, advice: str) -> str | None:
        """Return a line if decisions are slow; ask after every step, it is returned once.

        Args:
            advice: which keys make decisions faster.
        """
        number, seconds = self._remaining.decisions()
        return long_run_notice(number, seconds, self.seconds_left(), advice)

    def seconds_left(self) -> float | None:
        """Return the remaining time of the run, or None before it can be estimated."""
        seconds, time, block, _ = self._estimate
        if seconds is None:
            return None
        return max(0.0, seconds - min(self._stopwatch.clock() - time, block))

    def is_lower_bound(self) -> bool:
        """Return whether `seconds_left` lacks parts of the run that are not measured yet."""
        return self._estimate.is_lower_bound

    # --- estimates ----------------------------------------------------------------------------

    def _estimate_run(self, block: float) -> None:
        self._set_estimate(self._run_seconds(), block)

    def _estimate_evaluation(self, finished: int, running: int, round_number: int) -> None:
        seconds = self._run_seconds()
        if seconds is not None:
            seconds += self._remaining.rest_of_evaluation_seconds(
                self._evaluation[0], finished, running, round_number
            )
        self._set_estimate(seconds, self._remaining.round_seconds(max(1, running)))

    def _set_estimate(self, seconds: float | None, block: float) -> None:
        is_lower_bound = self._remaining.is_lower_bound(self._num_fits())
        self._estimate = _Estimate(seconds, self._stopwatch.clock(), block, is_lower_bound)

    def _run_seconds(self) -> float | None:
        return self._remaining.run_seconds(self.env_step, self._num_fits(), self._final_is_ahead)

    def _num_fits(self) -> int:
        return len(self._fit_steps(self.env_step, self._remaining.total_steps))

    def _set_marks(self) -> None:
        """Note the time that steps and decisions have taken so far."""
        seconds = self._stopwatch.seconds
        set_aside = seconds["eval"] + seconds["save"] + self._fit_sum
        self._step_mark = self._stopwatch.clock() - set_aside
        self._decision_mark = seconds["plan"] + seconds["env"]
