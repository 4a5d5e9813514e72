"""Schedule of something that is repeated after a fixed number of environment steps."""

from __future__ import annotations

from typing import Any


class IntervalSchedule:
    """Decide when to repeat something, for example the fit of a model.

    Args:
        interval: environment steps from one time to the next.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.last_step = 0  # environment step of the last time

    def due(self, env_step: int, at_once: bool = False) -> bool:
        """Return whether it is time, or `at_once`; if so, the next interval starts at this step."""
        if not at_once and env_step - self.last_step < self.interval:
            return False
        self.last_step = env_step
        return True

    def steps(self, first: int, last: int, at_once: bool = False) -> range:
        """Return the steps in [first, last) at which it will be time; see `due` for `at_once`."""
        start = first if at_once else max(first, self.last_step + self.interval)
        return range(start, last, self.interval)

    def state_dict(self) -> dict[str, Any]:
        """Return the environment step of the last time."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.last_step = state["last_step"]
