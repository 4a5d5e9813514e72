"""Time budget of a decision."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

DECAY = 0.99  # of the slowest iteration's time, per iteration


class Deadline:
    """Limit the iterations of a decision so that it ends within its time budget.

    The next iteration is expected to take as long as the slowest recent one. Before the first
    iteration nothing is known, so a policy makes some decisions for practice before its first
    episode.

    Args:
        max_ms: budget in milliseconds per environment; None: no budget, the clock is not read.
        device: is synchronised before the clock is read.
    """

    def __init__(self, max_ms: float | None, device: torch.device) -> None:
        self.max_ms = max_ms
        self._device = device
        self.slowest_ms = 0.0  # time of the slowest recent iteration per environment
        self.was_late = False  # whether the last decision exceeded its budget

    def reset(self) -> None:
        """Forget how long iterations take."""
        self.slowest_ms = 0.0

    def iterations(self, max_iterations: int, num_envs: int) -> Iterator[int]:
        """Yield 0, 1, ... up to `max_iterations` - 1, and stop early if time runs out.

        If the budget is too short for a single iteration, nothing is yielded.
        """
        if self.max_ms is None:
            yield from range(max_iterations)
            return
        decision_start = start = self._now_ms()
        for iteration in range(max_iterations):
            if (start - decision_start) / num_envs + self.slowest_ms > self.max_ms:
                break
            yield iteration
            end = self._now_ms()
            self.slowest_ms = max((end - start) / num_envs, DECAY * self.slowest_ms)
            start = end
        self.was_late = (start - decision_start) / num_envs > self.max_ms

    def _now_ms(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return 1e3 * time.perf_counter()
