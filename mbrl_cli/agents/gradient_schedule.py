"""Schedule of gradient steps by environment steps."""

from __future__ import annotations

import math
from typing import Any


class GradientSchedule:
    """Keep a constant ratio of gradient steps to environment steps.

    The number of gradient steps depends on the environment step alone, so a resumed run takes the
    same gradient steps as one without interruption. Where a run continues with another ratio, the
    state has no first step; the new ratio does not make up for the steps before.

    Args:
        updates_per_step: gradient steps for each environment step since the first update.
        pretrain_steps: additional gradient steps before the first action.
    """

    def __init__(self, updates_per_step: float, pretrain_steps: int = 0) -> None:
        self.updates_per_step = updates_per_step
        self.pretrain_steps = pretrain_steps
        # Environment step of the first update, or, after another ratio, the step at which this one
        # would have begun for the same number of updates.
        self.first_step: float | None = None
        self.num_updates = 0  # gradient steps so far; the owner counts them

    def due(self, env_step: int) -> int:
        """Return the number of gradient steps to take before this environment step."""
        if self.first_step is None:
            self.first_step = env_step
            if self.num_updates:
                self.first_step -= (self.num_updates - self.pretrain_steps) / self.updates_per_step
        elapsed = env_step - self.first_step + 1
        total = self.pretrain_steps + math.floor(elapsed * self.updates_per_step)
        return max(0, total - self.num_updates)

    def state_dict(self) -> dict[str, Any]:
        """Return the first step and the number of updates."""
        return {"first_step": self.first_step, "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.first_step, self.num_updates = state["first_step"], state["num_updates"]
