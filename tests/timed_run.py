"""A hand-made run with a fake clock, for tests of the console."""

from collections.abc import Sequence

from mbrl_cli.console.remaining_time import RemainingTime
from mbrl_cli.console.run_progress import RunProgress
from mbrl_cli.stopwatch import Stopwatch


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def remaining(
    total_steps: int = 100, parallel: int | None = None, limit: int = 10
) -> RemainingTime:
    """Return the estimate of a run with evaluations of 2 episodes every 20 steps, 4 at the end."""
    return RemainingTime(total_steps, 10, 20, 2, 4, parallel, limit)


class TimedRun:
    """A run with steps of 1 s, and fits of 6 s every 10 steps."""

    def __init__(self, total_steps: int = 100) -> None:
        self.clock = FakeClock()
        self.stopwatch = Stopwatch(self.clock)
        self.progress = RunProgress(remaining(total_steps), self.stopwatch, self.fit_steps)
        self.progress.start(0)

    def fit_steps(self, first: int, last: int) -> Sequence[int]:
        return [step for step in range(first, last) if step >= 10 and step % 10 == 0]

    def spend(self, phase: str, seconds: float) -> None:
        with self.stopwatch(phase):
            self.clock.now += seconds

    def play(self, last_step: int) -> None:
        """Take steps until `last_step`; the first ten are the prefill, 0.01 s each."""
        for step in range(self.progress.env_step, last_step):
            self.progress.start_episode(is_prefill=step < 10)
            if step >= 10:
                self.progress.start_update()
                if self.fit_steps(step, step + 1):
                    self.spend("fit", 6.0)
                self.progress.end_update()
                self.spend("plan", 0.75)
            self.spend("env", 0.25 if step >= 10 else 0.01)
            self.progress.end_step(step + 1)
            if step == 9:
                self.progress.end_episode(10)

    def evaluate(self, running: Sequence[int], seconds: float) -> None:
        """Play an evaluation; `running` has the episodes that take each of its steps."""
        self.progress.start_evaluation(running[0])
        with self.stopwatch("eval"):
            for step, left in enumerate([*running[1:], 0], 1):
                self.clock.now += seconds
                self.progress.end_round(running[0] - left, left, step)
        self.progress.end_evaluation(sum(running) / running[0])


def evaluating() -> TimedRun:
    """Return a run of 1,000 steps in its first evaluation; 1,000 s and more are left."""
    run = TimedRun(total_steps=1000)
    run.play(20)
    run.progress.start_evaluation(20)
    run.progress.end_round(7, 13, 4)
    run.stopwatch.current = "eval", run.clock.now
    return run
