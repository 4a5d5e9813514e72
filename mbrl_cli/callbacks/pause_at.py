"""Pause a run, so that another part of the program decides whether it goes on."""

from __future__ import annotations

from collections.abc import Mapping

from mbrl_cli.callbacks.base import Callback
from mbrl_cli.errors import RunPaused
from mbrl_cli.evaluation import Evaluation


class PauseAt(Callback):
    """Raises RunPaused at the first evaluation at or after a step.

    The run saves its state before the current episode. Resumed without this callback, it is equal
    to the bit to a run that was never paused.

    Args:
        env_step: environment steps of the run.
    """

    def __init__(self, env_step: int) -> None:
        self._env_step = env_step

    def after_evaluation(self, env_step: int, evaluation: Evaluation) -> Mapping[str, float]:
        """Pause the run if the step is reached."""
        if env_step >= self._env_step:
            raise RunPaused(env_step, float(evaluation.returns.mean()))
        return {}
