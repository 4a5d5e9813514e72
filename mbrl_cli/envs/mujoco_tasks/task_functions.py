"""Reward and termination of one task, and what its observations lack."""

from __future__ import annotations

from dataclasses import dataclass

from mbrl_cli.types import TransitionFn


@dataclass(frozen=True)
class TaskFunctions:
    """Reward and termination of a task as functions of observations.

    Attributes:
        reward: the reward; None if the observations do not suffice.
        termination: whether the task terminates; None if the observations do not suffice.
        reward_lacks: for error messages: what the observations lack, and what adds it.
        notes: for "reward" and "termination": how the function differs from the environment. A
            function without an entry is exact up to float32.
    """

    reward: TransitionFn | None
    termination: TransitionFn | None
    reward_lacks: str = ""
    notes: tuple[tuple[str, str], ...] = ()
