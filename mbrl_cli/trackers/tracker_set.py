"""All trackers of one run; one that fails is left out, and the run goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from mbrl_cli.errors import printable
from mbrl_cli.trackers.base import TrackedRun, Tracker


class TrackerSet:
    """Passes scalars to several trackers.

    A tracker that raises an exception is reported once on stderr and not called again.

    Args:
        trackers: those of the run.
        run: what they show about it.
    """

    def __init__(self, trackers: Sequence[Tracker], run: TrackedRun) -> None:
        self._trackers = list(trackers)
        self._run = run
        self._sent_step = -1

    def __len__(self) -> int:
        return len(self._trackers)

    def start(self, sent_step: int = -1) -> None:
        """Start or continue the run.

        Args:
            sent_step: rows up to this environment step were sent before the run was interrupted.
                The resumed run repeats some of them, with the same values.
        """
        self._sent_step = sent_step
        self._each(lambda tracker: tracker.start(self._run))

    def log(self, env_step: int, values: Mapping[str, float]) -> None:
        """Send values by tag."""
        if values and env_step > self._sent_step:
            self._each(lambda tracker: tracker.log(env_step, values))

    def finish(self, finished: bool) -> None:
        """End the run, or this part of it."""
        self._each(lambda tracker: tracker.finish(finished))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # of the network, the login, the disk, or the package
                self._trackers.remove(tracker)
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                print(
                    f"mbrl: logger={tracker.name}: failed and gets no more values of this run "
                    f"({printable(reason)}); metrics.csv has them all",
                    file=sys.stderr,
                )
