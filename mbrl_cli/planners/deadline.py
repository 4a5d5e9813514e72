"""A time budget for each decision: fewer iterations when it is short, never a late action."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

FORGET = 0.99  # how much of the slowest iteration is remembered from one to the next


class Deadline:
    """Hands out iterations as long as one more of them is sure to fit.

    An iteration is expected to take as long as the slowest of late did; so nothing is promised for
    the first one of all, which is why a policy rehearses before its first episode.

    Args:
        max_ms: budget in milliseconds for each environment; None: no budget, no clock.
        device: whose work is waited for before the clock is read.
    """

    def __init__(self, max_ms: float | None, device: torch.device) -> None:
        self.max_ms = max_ms
        self._device = device
        self.slowest_ms = 0.0  # that an iteration takes of late, for each environment
        self.was_late = False  # whether the last decision took longer than its budget

    def forget(self) -> None:
        """Know nothing about how long an iteration takes."""
        self.slowest_ms = 0.0

    def rounds(self, iterations: int, num_envs: int) -> Iterator[int]:
        """Yield 0, 1, ... as long as there is time: all `iterations`, some, or none."""
        if self.max_ms is None:
            yield from range(iterations)
            return
        start = begun = self._now_ms()
        for iteration in range(iterations):
            if (begun - start) / num_envs + self.slowest_ms > self.max_ms:
                break
            yield iteration
            ended = self._now_ms()
            self.slowest_ms = max((ended - begun) / num_envs, FORGET * self.slowest_ms)
            begun = ended
        self.was_late = (begun - start) / num_envs > self.max_ms

    def _now_ms(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return 1e3 * time.perf_counter()
