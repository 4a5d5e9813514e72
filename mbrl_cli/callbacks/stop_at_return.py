"""Early stopping."""

from __future__ import annotations

from collections.abc import Mapping

from mbrl_cli.callbacks.base import Callback
from mbrl_cli.evaluation import Evaluation


class StopAtReturn(Callback):
    """Ends the run when the mean return of an evaluation reaches a threshold.

    Args:
        threshold: in the environment's units.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._reason: str | None = None

    def after_evaluation(self, env_step: int, evaluation: Evaluation) -> Mapping[str, float]:
        """Compare the mean return with the threshold."""
        mean = float(evaluation.returns.mean())
        if mean >= self._threshold:
            self._reason = f"eval/return {mean:.6g} >= stop_at_return={self._threshold:g}"
        return {}

    def stop_reason(self) -> str | None:
        """Return both numbers once the threshold is reached."""
        return self._reason
