"""Count of a model's consecutive fits that diverged."""

from __future__ import annotations

from collections.abc import Mapping

from mbrl_cli.errors import Diverged

MAX_DIVERGED_FITS = 3


class DivergedFits:
    """Count consecutive fits that diverged and were rolled back, and end the run at a limit."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, fitted: Mapping[str, float]) -> None:
        """Count the fit with these metrics.

        Raises:
            Diverged: if `MAX_DIVERGED_FITS` fits in a row have diverged.
        """
        self.count = self.count + 1 if fitted.get("rolled_back") else 0
        if self.count >= MAX_DIVERGED_FITS:
            raise Diverged(
                f"the model diverged in {MAX_DIVERGED_FITS} fits in a row and was rolled back each "
                "time; lower model.learning_rate, or raise agent.fit_every to fit more data at once"
            )
