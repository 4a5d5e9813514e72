"""Number of steps of MBPO's imagined rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mbrl_cli.errors import UserError


class RolloutLength:
    """Choose the length of imagined rollouts: fixed, on a schedule, or by the model's error.

    Args:
        setting: a number of steps; or a schedule [first step, last step, first length, last
            length], linear between two environment steps (as in Janner et al. 2019); or "auto":
            the longest length whose error is at most `max_error`.
        max_error: "auto": largest error, in standard deviations of the data.
        max_length: "auto": upper limit of the length.

    Raises:
        UserError: if the schedule has another form.

    Attributes:
        errors: error of the model after k imagined steps, by k in ascending order; see
            `Model.errors`. Empty before it is measured.
    """

    def __init__(
        self, setting: int | Sequence[int] | Literal["auto"], max_error: float, max_length: int
    ) -> None:
        if not isinstance(setting, int | str):
            _check_schedule(setting)
        self.setting = setting
        self.max_error = max_error
        self.max_length = max_length
        self.errors: dict[int, float] = {}

    def at(self, env_step: int) -> int:
        """Return the length at this environment step."""
        if isinstance(self.setting, int):
            return self.setting
        if isinstance(self.setting, str):
            longest = min(self.max_length, max(self.errors, default=1))
            lengths = range(2, longest + 1)
            return max((k for k in lengths if self.error_after(k) <= self.max_error), default=1)
        return int(np.interp(env_step, self.setting[:2], self.setting[2:]))

    def error_after(self, length: int) -> float:
        """Return the model's error after `length` steps, interpolated between measured ones."""
        return float(np.interp(length, list(self.errors), list(self.errors.values())))


def _check_schedule(values: Sequence[int]) -> None:
    if len(values) != 4 or values[0] >= values[1] or min(values[2:]) < 1:
        raise UserError(
            f"agent.rollout_length={list(values)}: a schedule is [first step, last step, first "
            "length, last length] with first step < last step and lengths >= 1; type for example "
            "agent.rollout_length=[1000,3000,1,5]"
        )
