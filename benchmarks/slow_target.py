"""Environment SlowTarget-v0: MovingTarget-v0 whose steps take SLOW_TARGET_SECONDS seconds.

So a run lasts long enough for faults on any machine, and still needs little of the CPU.
"""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
from moving_target import MovingTarget

SECONDS = float(os.environ.get("SLOW_TARGET_SECONDS", "0.1"))


class SlowTarget(MovingTarget):
    """Sleep in every step."""

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Sleep, then move."""
        time.sleep(SECONDS)
        return super().step(action)


gymnasium.register("SlowTarget-v0", SlowTarget, max_episode_steps=20)
